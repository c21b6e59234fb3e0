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


class NotFinite(JobFailed):
    """A network's numbers became NaN or infinite: no picture of them is ever delivered."""


class OutOfMemory(Retryable):
    """The device has less memory free than the profile needs; never answered by computing in another way.

    ``stage`` is where it ran out; None if the job was not begun because too little was free.
    """

    def __init__(
        self, what: str, *, needed_bytes: int | None, free_bytes: int | None, stage: str | None = None
    ) -> None:
        self.stage = stage
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
        needed = "" if needed_bytes is None else f", {needed_bytes / 1e9:.1f} GB are needed"
        free = "" if free_bytes is None else f", {free_bytes / 1e9:.1f} GB are free"
        super().__init__(
            f"{what}{needed}{free}: end what else uses the device, set worker.residency to swapped, or "
            "choose a smaller profile"
        )


class Fatal(NodeError):
    """The node must stop: going on could lose money or lie. The text says what the operator must do."""


class Misconfigured(Fatal):
    """A setting, file or address given by the operator is wrong."""

    exit_code = 2


class RefusedByPolicy(NodeError):
    """Allowed by the protocol, but not by this node's own rules."""

    exit_code = 4


class Halted(Fatal):
    """The node stopped itself because going on could cost money; it stays stopped until a person looked.

    The reason is in the journal before this is raised; ``sdv-node resume`` takes it away.
    """

    exit_code = 4


class IllegalTransition(Fatal):
    """An event arrived that cannot follow the job's phase: a bug, not a fault of the outside world."""
