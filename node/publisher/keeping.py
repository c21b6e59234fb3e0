"""Which finished jobs' results are let go: those kept for long enough, those lost, the oldest beyond quota.

Pure. A job whose result somebody may still have a claim to is never among them, whatever the quota says.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from node.types import JobId


class Need(StrEnum):
    """Whether a job's result has to be kept."""

    NEEDED = "needed"
    """The job is open, disputed, claimable, or ended in blocks that a reorganisation may still drop."""
    FOR_A_TIME = "for a time"
    """Delivered and never paid for: it may be asked for late, so the quota does not shorten its time."""
    FREE = "free"
    """Ended for good."""
    UNKNOWN = "unknown"
    """The journal does not know the job: nothing is decided about it."""


ENDED = frozenset({Need.FREE, Need.FOR_A_TIME})


class Why(StrEnum):
    """Why a result is let go."""

    AGE = "age"
    QUOTA = "quota"
    DAMAGE = "damage"


@dataclass(frozen=True, slots=True)
class Holding:
    """What is kept on disk for a job. ``blocks``: bytes by digest, and jobs may share some of them."""

    job_id: JobId
    need: Need
    ended_at: float
    """Wall time in seconds; 0 for a job that has not ended."""
    blocks: Mapping[bytes, int]
    folder_bytes: int = 0
    """Of the job's own folder, beside the block store."""
    lost: bool = False
    """Its blocks are damaged, and there are no files to mend them from: it cannot be served any more."""


@dataclass(frozen=True, slots=True)
class LetGo:
    """A job whose result is removed, and how many bytes of the disk become free by it."""

    job_id: JobId
    why: Why
    ended_at: float
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is let go, oldest first, and what is on disk afterwards."""

    let_go: tuple[LetGo, ...]
    kept_bytes: int
    needed_bytes: int
    """Of these, what cannot be let go for the sake of the quota."""


def plan(
    holdings: Sequence[Holding],
    *,
    other_bytes: int,
    now: float,
    keep_s: float,
    quota_bytes: int | None,
) -> Plan:
    """Decide what to remove. ``other_bytes`` are kept beside the jobs, ``quota_bytes`` None is no quota."""
    books = _Books(holdings, other_bytes)
    order = sorted(holdings, key=lambda holding: (holding.ended_at, holding.job_id))
    let_go = [
        books.remove(holding, Why.AGE)
        for holding in order
        if holding.need in ENDED and holding.ended_at + keep_s < now
    ]
    let_go += [
        books.remove(holding, Why.DAMAGE)
        for holding in order
        if holding.lost and holding.need in ENDED and holding.job_id in books.kept
    ]
    for holding in order:
        if quota_bytes is None or books.kept_bytes <= quota_bytes:
            break
        if holding.need is Need.FREE and holding.job_id in books.kept:
            let_go.append(books.remove(holding, Why.QUOTA))
    needed = (holding for holding in books.kept.values() if holding.need is not Need.FREE)
    return Plan(tuple(let_go), books.kept_bytes, _bytes_of(needed) + other_bytes)


class _Books:
    """What is kept so far. A block is free once the last job that has it is gone."""

    def __init__(self, holdings: Sequence[Holding], other_bytes: int) -> None:
        self.kept = {holding.job_id: holding for holding in holdings}
        self.kept_bytes = _bytes_of(holdings) + other_bytes
        self._users = Counter(digest for holding in holdings for digest in holding.blocks)

    def remove(self, holding: Holding, why: Why) -> LetGo:
        del self.kept[holding.job_id]
        freed_bytes = holding.folder_bytes
        for digest, size_bytes in holding.blocks.items():
            self._users[digest] -= 1
            if not self._users[digest]:
                freed_bytes += size_bytes
        self.kept_bytes -= freed_bytes
        return LetGo(holding.job_id, why, holding.ended_at, freed_bytes)


def _bytes_of(holdings: Iterable[Holding]) -> int:
    blocks: dict[bytes, int] = {}
    folders = 0
    for holding in holdings:
        blocks.update(holding.blocks)
        folders += holding.folder_bytes
    return sum(blocks.values()) + folders
