"""Where a result is stored, where it was read back from, and when that is enough to report its CID.

A place is the node's own store, a target that the result was given to, or a gateway that it is only read
from. Pure: what stores and reads is in ``node.publisher.targets``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from node.types import OWN_STORE


@dataclass(frozen=True, slots=True)
class Copy:
    """A result at one place. Times are seconds since the Unix epoch, for people; None: not yet.

    ``problem`` is why the last attempt there failed, None after a success.
    """

    place: str
    stored_at: float | None = None
    read_at: float | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class CopyPolicy:
    """What must be there before a CID is reported.

    ``copies`` counts the own store as one. ``reads`` is how many independent places the result must have been
    read back from. ``unread_count``: whether a target's word that it has the result makes a copy.
    """

    copies: int = 1
    reads: int = 1
    unread_count: bool = False

    def is_met(self, copies: Iterable[Copy]) -> bool:
        """Whether the CID may be reported at once."""
        copies = tuple(copies)
        return self.counted(copies) >= self.copies and reads(copies) >= max(1, self.reads)

    def is_bearable(self, copies: Iterable[Copy]) -> bool:
        """Whether the CID may be reported because time runs out: kept here, and read at least once."""
        copies = tuple(copies)
        kept_here = any(copy.place == OWN_STORE and copy.stored_at is not None for copy in copies)
        return kept_here and reads(copies) >= 1

    def lacking(self, copies: Iterable[Copy]) -> str | None:
        """Return in words how many copies and places to read from there are of how many, None if enough."""
        copies = tuple(copies)
        found = []
        if self.counted(copies) < self.copies:
            found.append(f"{self.counted(copies)} of {self.copies} copies")
        if reads(copies) < self.reads:
            found.append(f"read back from {reads(copies)} of {self.reads} places")
        return " and ".join(found) or None

    def counted(self, copies: Iterable[Copy]) -> int:
        """Return how many copies there are."""
        return sum(
            copy.stored_at is not None and (copy.read_at is not None or self.unread_count) for copy in copies
        )


def reads(copies: Iterable[Copy]) -> int:
    """Return from how many places the result was read back."""
    return sum(copy.read_at is not None for copy in copies)


def told(copies: Iterable[Copy]) -> str:
    """Return the copies in words, for a line of a job's history."""
    copies = tuple(copies)
    stored = [copy.place for copy in copies if copy.stored_at is not None]
    read = [copy.place for copy in copies if copy.read_at is not None]
    return f"kept by {', '.join(stored) or 'nobody'}; read back from {', '.join(read) or 'nowhere'}"
