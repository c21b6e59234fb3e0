"""Why a worker was lost, what to do about it, and what that says of the job it had."""

from enum import StrEnum

from node.errors import NodeError


class Cause(StrEnum):
    """What ended a worker. The values are labels of a metric."""

    OUT_OF_MEMORY = "out_of_memory"
    CUDA = "cuda"
    CRASH = "crash"
    SIGNAL = "signal"
    HANG = "hang"
    SILENCE = "silence"
    ENCODER = "encoder"
    BAD_RESULT = "bad_result"
    PROTOCOL = "protocol"
    LOAD = "load"
    GONE = "gone"
    ENDED = "ended"
    """By the daemon, which had no more use for it."""


# Memory that ran out has its remedy in its own words.
REMEDIES = {
    Cause.CUDA: "look for Xid in dmesg; if it comes again with other jobs, reset the card or reboot",
    Cause.CRASH: "if other jobs end alike, see the log and sdv-node doctor",
    Cause.SIGNAL: "if nobody sent it: look in dmesg for the kernel's out-of-memory killer and for Xid",
    Cause.HANG: "if the card is merely slow, raise worker.progress_timeout_s or worker.job_timeout_s",
    Cause.SILENCE: "look in dmesg for Xid and for a machine short of memory",
    Cause.ENCODER: "look in dmesg for the kernel's out-of-memory killer",
    Cause.BAD_RESULT: "check disk and memory of this machine",
    Cause.PROTOCOL: "run node and worker from the same version",
}


class WorkerDied(NodeError):
    """The worker was lost before it answered.

    ``blamed`` tells whether the job this is told to was the one it died with; jobs beside it are not.
    """

    def __init__(self, reason: str, cause: Cause = Cause.GONE, *, blamed: bool = False) -> None:
        super().__init__(reason)
        self.cause = cause
        self.blamed = blamed


class EncoderDied(NodeError):
    """The process that encodes ended in the middle of a clip."""
