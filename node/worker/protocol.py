"""The wire between daemon and worker: frozen messages as JSON lines over a Unix socket, bounded in size.

No tensors and no file contents cross; files go through the job's directory. The peer is our own process, but
one that may be broken, so every line is checked before it is believed.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar, get_args

from node.errors import NodeError

MAX_MESSAGE_BYTES = 256 * 1024


class ProtocolViolation(NodeError):
    """The other end sent something that is not a message of this protocol."""


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
class Rendered:
    """Worker to daemon: the result directory is complete; ``outputs`` are paths inside it."""

    job_id: str
    outputs: list[str]
    determinism_class: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker to daemon: the job ended without a result.

    ``retryable`` tells a fault of this machine (a full disk) from one of the job.
    """

    job_id: str
    reason: str
    retryable: bool


ToWorker = Ping | Render | Shutdown
FromWorker = Ready | Pong | Progressed | Rendered | Failed
_Message = TypeVar("_Message", Ping | Render | Shutdown, Ready | Pong | Progressed | Rendered | Failed)
_TO_WORKER: dict[str, type[ToWorker]] = {kind.__name__: kind for kind in get_args(ToWorker)}
_FROM_WORKER: dict[str, type[FromWorker]] = {kind.__name__: kind for kind in get_args(FromWorker)}


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
        document = json.loads(line)
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
    return kind(**document)


def _fits(value: object, annotation: object) -> bool:
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation == str | None:
        return value is None or isinstance(value, str)
    if annotation == list[str]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if annotation == dict[str, Any]:
        return isinstance(value, dict)
    return type(value) is annotation
