"""The wire between daemon and worker: frozen messages as JSON lines over a Unix socket, bounded in size.

No tensors and no file contents cross; files go through the job's directory. The daemon speaks first and names
the versions of this protocol that it knows. Every line is checked before it is believed, because the peer may
be broken, of another version or another user's process.
"""

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, TypeVar, get_args

from node.errors import NodeError
from node.job.foreign_json import read_json

MAX_MESSAGE_BYTES = 256 * 1024
VERSIONS = (1,)
"""What this side speaks. Raise it with every change that the other side would not understand."""


class ProtocolViolation(NodeError):
    """The other end sent something that is not a message of this protocol."""


class FailureKind(StrEnum):
    """What a job ended of."""

    JOB = "job"
    """The job itself cannot be computed."""
    MACHINE = "machine"
    """Not now on this machine: a full disk, memory that others hold."""
    OUT_OF_MEMORY = "out_of_memory"
    """The card ran out in the middle of a stage: the process is replaced."""
    ENCODER = "encoder"
    """The process that encodes died with this job; the worker lives."""
    CRASH = "crash"
    """An error nobody handles, such as one of CUDA: the process ends."""
    LOST = "lost"
    """The host that rendered it, or the process there, is gone."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Daemon to worker, first of all: the protocol's versions it speaks and what it wants rendered with."""

    versions: list[int]
    profile: str
    residency: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """Worker to daemon: the version to speak from here on."""

    version: int
    pid: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Worker to daemon, before it hangs up: why it does not work for this daemon."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Daemon to worker: answer with the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Render:
    """Daemon to worker: render ``spec`` (``JobSpec.to_json``) in ``job_dir``."""

    job_id: str
    spec: dict[str, Any]
    job_dir: str


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Daemon to worker: end now."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to daemon: models are loaded."""

    determinism_class: str
    pid: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Worker to daemon: the answer to Ping."""

    number: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """Worker to daemon: the fields of ``Progress`` for a job."""

    job_id: str
    stage: str
    step: int
    steps: int
    fraction: float
    artifact: str | None


@dataclass(frozen=True, slots=True)
class DeviceFree:
    """Worker to daemon: only encoding is left of this job, the next one may come."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """Worker to daemon: the result directory is complete; ``outputs`` are paths inside it."""

    job_id: str
    outputs: list[str]
    determinism_class: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker to daemon: the job ended without a result."""

    job_id: str
    reason: str
    of: FailureKind


ToWorker = Hello | Ping | Render | Shutdown
FromWorker = Welcome | Refused | Ready | Pong | Progressed | DeviceFree | Rendered | Failed
_Message = TypeVar(
    "_Message",
    Hello | Ping | Render | Shutdown,
    Welcome | Refused | Ready | Pong | Progressed | DeviceFree | Rendered | Failed,
)
_TO_WORKER: dict[str, type[ToWorker]] = {kind.__name__: kind for kind in get_args(ToWorker)}
_FROM_WORKER: dict[str, type[FromWorker]] = {kind.__name__: kind for kind in get_args(FromWorker)}


def agreed_version(theirs: list[int]) -> int | None:
    """Return the newest version that both sides speak, or None."""
    return max(set(theirs) & set(VERSIONS), default=None)


def encode(message: ToWorker | FromWorker) -> bytes:
    """Return the message as one line. Raises ProtocolViolation if it is too long to send."""
    line = json.dumps({"kind": type(message).__name__, **asdict(message)}).encode() + b"\n"
    if len(line) > MAX_MESSAGE_BYTES:
        raise ProtocolViolation(f"a {type(message).__name__} of {len(line)} bytes is too long to send")
    return line


def decode_to_worker(line: bytes) -> ToWorker:
    """Read what a daemon sent. Raises ProtocolViolation."""
    return _decode(line, _TO_WORKER)


def decode_from_worker(line: bytes) -> FromWorker:
    """Read what a worker sent. Raises ProtocolViolation."""
    return _decode(line, _FROM_WORKER)


def _decode(line: bytes, kinds: dict[str, type[_Message]]) -> _Message:
    try:
        document = read_json(line)
    except ValueError as error:
        raise ProtocolViolation(f"{line[:80]!r} is not JSON") from error
    if not isinstance(document, dict):
        raise ProtocolViolation(f"{line[:80]!r} is not an object")
    kind = kinds.get(str(document.pop("kind", None)))
    if kind is None:
        raise ProtocolViolation(f"{line[:80]!r} has no known kind; allowed: {', '.join(kinds)}")
    types = {field.name: field.type for field in fields(kind)}
    if document.keys() != types.keys() or not all(
        _fits(value, types[name]) for name, value in document.items()
    ):
        raise ProtocolViolation(f"a {kind.__name__} has other fields than {', '.join(types)}")
    return kind(**{name: _read(value, types[name]) for name, value in document.items()})


def _read(value: Any, annotation: Any) -> Any:
    return annotation(value) if annotation is FailureKind else value


def _fits(value: object, annotation: object) -> bool:
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation == str | None:
        return value is None or isinstance(value, str)
    if annotation == list[str]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if annotation == list[int]:
        return isinstance(value, list) and all(type(item) is int for item in value)
    if annotation is FailureKind:
        return isinstance(value, str) and value in set(FailureKind)
    if annotation == dict[str, Any]:
        return isinstance(value, dict)
    return type(value) is annotation
