"""Where a worker keeps its models, how long it may take and how it is replaced. All times in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Deadlines of one worker, and whether its models are "resident" on the device or "swapped".

    ``progress_s`` bounds the silence between two reports of a job, ``ping_s`` that of the process itself.
    ``load_attempts`` failed starts in a row make waiting callers give up; starting goes on.
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
