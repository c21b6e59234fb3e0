"""How much memory of a GPU the jobs of a profile need, stage by stage."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What one job of a profile takes of a GPU in bytes, models included, by stage of the pipeline.

    A stage without a name is the whole job. ``remedy`` says what an operator can do about a card on which it
    does not fit.
    """

    profile: str
    stages: Mapping[str, int]
    remedy: str = "set worker.profile to a smaller one"

    def __post_init__(self) -> None:
        if not self.stages or min(self.stages.values()) <= 0:
            raise ValueError(f"profile {self.profile} states no memory for some stage: {dict(self.stages)}")

    @property
    def bytes(self) -> int:
        """What its largest stage takes: so much is reserved for the whole job."""
        return max(self.stages.values())

    def words(self, room_bytes: int | None = None) -> str:
        """Return the need as people are told it: of the first stage that is short of room, or the largest."""
        room = self.bytes - 1 if room_bytes is None else room_bytes
        short = [stage for stage, size in self.stages.items() if size > room]
        stage = short[0] if short else max(self.stages, key=lambda stage: self.stages[stage])
        which = f"stage {stage!r} of profile" if stage else "profile"
        return f"{which} {self.profile} needs {self.stages[stage] / 1e9:.1f} GB"
