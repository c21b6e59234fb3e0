"""How far a job's rendering is, as the worker tells it and as people see it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """``step`` of ``steps`` within the stage, and ``fraction`` (0 to 1) of the whole job's work."""

    stage: str
    step: int
    steps: int
    fraction: float
