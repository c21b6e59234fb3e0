"""What every target and every place to read back from can do, and what can go wrong there."""

from typing import Protocol, runtime_checkable

from node.errors import NodeError, Unreachable
from node.publisher.cid import BlockId
from node.publisher.dag import BlockSource
from node.types import JobId

MAX_SAID = 200


class TargetRefuses(NodeError):
    """A target says no, or what it says is wrong: it stays so until somebody changes something there."""


class TargetBusy(Unreachable):
    """A target asks for time. ``wait_s``: how long, in seconds."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Target(Protocol):
    """Something that keeps results for others to fetch. Cancelling a call ends its work soon."""

    @property
    def name(self) -> str:
        """What the operator calls it."""
        ...

    async def put(self, job_id: JobId, root: BlockId, store: BlockSource) -> None:
        """Have the DAG kept; returns when the target says that it has all of it. Safe to repeat.

        Raises Unreachable (try again), TargetBusy with the time it asks for, TargetRefuses, and what the
        store raises.
        """
        ...

    async def holds(self, root: BlockId) -> bool:
        """Return whether the target says that it keeps the DAG. Raises as ``put``."""
        ...


@runtime_checkable
class Removable(Target, Protocol):
    """A target that can be told to keep something no longer."""

    async def remove(self, root: BlockId) -> None:
        """Have the DAG let go of. Safe to repeat. Raises as ``put``."""
        ...


class Reader(Protocol):
    """A path on which a result can be fetched."""

    async def read(self, root: BlockId) -> int:
        """Fetch every block of the DAG, hash it again, and return how many bytes came.

        Raises Unreachable if not all of it comes, BadContent for anything else than what the CID promises.
        """
        ...


def said(text: object) -> str:
    """Return what a stranger said, bounded and without control characters, for an error's text."""
    shown = "".join(character if character.isprintable() else " " for character in str(text))
    return shown[:MAX_SAID].strip()


def retry_after_s(header: str | None) -> float:
    """Return the seconds a Retry-After header asks for, between 1 and 3600; 60 where it names none."""
    if header is not None and header.strip().isascii() and header.strip().isdecimal():
        return float(min(max(int(header.strip()[:6]), 1), 3600))
    return 60.0
