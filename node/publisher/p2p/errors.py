"""What can go wrong between this node and its peers."""

from node.errors import NodeError, Retryable, Unreachable


class PortalClosed(NodeError):
    """The trio thread has ended or is ending, so the call was not carried out or its end is unknown."""


class PeerUnreachable(Unreachable):
    """A peer could not be dialled, or went away."""


class BlocksNotFound(Retryable):
    """No peer that was asked gave these blocks in time."""


class P2pUnavailable(Retryable):
    """The embedded node is not running at this moment; it is being restarted."""
