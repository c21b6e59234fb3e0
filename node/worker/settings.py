"""Where workers run, where they keep their models, how long they may take and how they are replaced."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Deadlines of one worker in seconds, and whether its models are "resident" on the device or "swapped".

    ``progress_s`` bounds the silence between two reports of a job, ``ping_s`` that of the process itself.
    ``load_attempts`` failed starts in a row make waiting callers give up; starting goes on. ``mourning_s`` is
    the pause before a job that lost its worker is tried again.
    """

    residency: str = "resident"
    load_s: float = 300.0
    job_s: float = 1800.0
    progress_s: float = 180.0
    ping_interval_s: float = 2.0
    ping_s: float = 30.0
    terminate_s: float = 5.0
    restart_backoff_s: float = 0.5
    restart_backoff_max_s: float = 60.0
    load_attempts: int = 3
    mourning_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Standalone:
    """A worker that somebody else starts, under another user: its socket and what it and the node share.

    ``exchange`` is the folder of job folders that the worker writes. ``uid`` is the user it must run as; None
    for the node's own.
    """

    socket: Path
    exchange: Path
    uid: int | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """A worker on some host of a Ray cluster: where that is, and what the host must have for it.

    ``resources`` are names and amounts of Ray's custom resources. ``data_dir`` is the folder of the models,
    on the host. ``placement_s`` bounds the wait for room.
    """

    address: str
    namespace: str
    gpus: int
    resources: tuple[tuple[str, float], ...]
    data_dir: str
    placement_s: float

    def to_json(self, settings: WorkerSettings) -> dict[str, Any]:
        """Return what another process needs to hire a worker with these deadlines."""
        return {"fleet": asdict(self), "settings": asdict(settings)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "tuple[Fleet, WorkerSettings]":
        """Read what ``to_json`` returned."""
        fleet = document["fleet"]
        fleet["resources"] = tuple((name, amount) for name, amount in fleet["resources"])
        return cls(**fleet), WorkerSettings(**document["settings"])


@dataclass(frozen=True, slots=True)
class Place:
    """Where one worker runs. ``gpu`` is a UUID or an index as CUDA_VISIBLE_DEVICES takes it.

    ``gpu`` is None where the processor renders, and where the worker chooses its card itself.
    """

    name: str = "0"
    gpu: str | None = None
    standalone: Standalone | None = None
    fleet: Fleet | None = None
