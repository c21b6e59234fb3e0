"""What can go wrong with content, its identifiers and the store that holds it.

Only the publisher raises these; the families in ``node.errors`` say whether waiting helps.
"""

from node.errors import JobFailed, NodeError, Retryable


class InvalidCid(NodeError):
    """The text or the bytes are not a content identifier that this node can check."""

    exit_code = 2


class BadContent(NodeError):
    """Content that is malformed, is not what its identifier promises, or is larger than allowed."""


class UnpublishableTree(JobFailed):
    """A result holds something that cannot be published: a link, a device, a name that is not text."""


class TreeChanged(Retryable):
    """The files changed while they were being published."""


class TargetOccupied(NodeError):
    """A download would have to overwrite something that is not what is being downloaded."""

    exit_code = 2


class StoreUnavailable(Retryable):
    """The block store cannot be read or written at this moment."""


class StoreFull(StoreUnavailable):
    """Too little disk space is left: the store takes nothing more until some is freed."""


class BlockMissing(NodeError):
    """The store does not hold a usable copy of this block. ``key`` is its SHA-256 digest."""

    def __init__(self, message: str, key: bytes) -> None:
        super().__init__(message)
        self.key = key


class CorruptBlock(BlockMissing):
    """A stored block no longer has the hash it was stored under."""
