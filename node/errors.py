"""The error families of the node. A handler chooses by class, never by message text.

``exit_code`` is what the command line ends with when the error reaches it: 1 problem found, 2 usage or
invalid input, 3 unreachable, 4 refused by policy, 75 try again.
"""


class NodeError(Exception):
    """Any error the node understands. Its text is one sentence that says what to do next."""

    exit_code = 1


class Retryable(NodeError):
    """The same call may succeed later, unchanged: raise it where waiting is the remedy."""

    exit_code = 75


class NotYet(Retryable):
    """Nothing is wrong, the moment has not come: asked again without a word to the operator."""


class Unreachable(Retryable):
    """A peer (RPC endpoint, gateway, worker socket) did not answer."""

    exit_code = 3


class JobFailed(NodeError):
    """This job ends, the node lives: raise it where trying the same job again cannot help."""


class Fatal(NodeError):
    """The node must stop: going on could lose money or lie. The text says what the operator must do."""


class Misconfigured(Fatal):
    """A setting, file or address given by the operator is wrong."""

    exit_code = 2


class RefusedByPolicy(NodeError):
    """Allowed by the protocol, but not by this node's own rules."""

    exit_code = 4


class IllegalTransition(Fatal):
    """An event arrived that cannot follow the job's phase: a bug, not a fault of the outside world."""
