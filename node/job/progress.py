"""How far a job's rendering is, as the worker tells it and as people see it."""

from dataclasses import dataclass
from pathlib import PurePosixPath

MAX_ARTIFACT_CHARACTERS = 200
MAX_STAGE_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Progress:
    """``step`` of ``steps`` within the stage, and ``fraction`` (0 to 1) of the whole job's work.

    ``artifact`` is a file worth looking at that is now complete, as a path from the job's directory. Raises
    ValueError if it could lead out of there, or if the rest is not progress that can be shown.
    """

    stage: str
    step: int
    steps: int
    fraction: float
    artifact: str | None = None

    def __post_init__(self) -> None:
        if not (len(self.stage) <= MAX_STAGE_CHARACTERS and self.stage.isprintable()):
            raise ValueError(f"{self.stage[:80]!r} is not the name of a stage")
        # An adaptive sampler may take more steps than were planned.
        if self.step < 0 or self.steps < 0 or not 0 <= self.fraction <= 1:
            raise ValueError(f"step {self.step} of {self.steps}, {self.fraction} of the job, is no progress")
        if self.artifact is not None and not _stays_inside(self.artifact):
            raise ValueError(f"{self.artifact[:80]!r} is not the path of a file below the job's directory")


def _stays_inside(path: str) -> bool:
    if len(path) > MAX_ARTIFACT_CHARACTERS or not path.isprintable():
        return False
    parts = PurePosixPath(path).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts
