"""When the running job will be done: the estimate's plan, corrected by the pace of this very run. Pure."""

from collections.abc import Sequence

from node.admission.work import Stage
from node.job.progress import Progress

LEAST_PACE, MOST_PACE = 0.25, 4.0
SHARE_TO_TRUST = 0.05
"""The pace of a run is its own once it has shown this much of the plan."""


class Eta:
    """Follows one job. ``stages`` are the plan's, in order; none: only a total is known.

    What was found on disk is skipped, so the pace is that of what was seen being computed.
    """

    def __init__(self, total_s: float, stages: Sequence[Stage] = ()) -> None:
        self._total_s = sum(stage.start_s + stage.steps_s for stage in stages) if stages else total_s
        self._stages = stages
        self._stage = 0
        self._told_at: float | None = None
        self._last: Progress | None = None
        self._done_s = 0.0
        self._seen_s = 0.0
        self._planned_s = 0.0

    def told(self, progress: Progress, now: float) -> None:
        """Take a report into account; ``now`` is monotonic, in seconds."""
        if progress.artifact is not None:
            return
        before = self._last
        done = self._position(progress)
        if before is not None and self._told_at is not None and done > self._done_s and progress.step:
            self._seen_s += now - self._told_at
            self._planned_s += done - self._done_s
        self._done_s, self._told_at, self._last = done, now, progress

    def left_s(self, now: float) -> float:
        """Return the seconds that are left, at least none."""
        if self._told_at is None:
            return self._total_s
        left = (self._total_s - self._done_s) * self._pace()
        return max(0.0, left - (now - self._told_at))

    def _pace(self) -> float:
        if self._planned_s <= SHARE_TO_TRUST * self._total_s:
            return 1.0
        return min(max(self._seen_s / self._planned_s, LEAST_PACE), MOST_PACE)

    def _position(self, progress: Progress) -> float:
        """Return how much of the plan is behind, in seconds."""
        if not self._stages:
            return self._total_s * progress.fraction
        if self._last is not None and progress.stage == self._stages[0].name != self._last.stage:
            self._stage = 0
        names = [stage.name for stage in self._stages]
        if progress.stage in names[self._stage :]:
            self._stage = names.index(progress.stage, self._stage)
        before = sum(stage.start_s + stage.steps_s for stage in self._stages[: self._stage])
        if not (progress.step and progress.steps):
            return before
        current = self._stages[self._stage]
        return before + current.start_s + current.steps_s * min(progress.step / progress.steps, 1.0)
