"""What one job's progress tells about the time of each part of the work: samples in seconds per unit.

Only what was computed from its start counts: a stage found on disk, or begun by a worker that died, tells
nothing. The first step of a sampler holds its conditioning too, so its pace is that of the later ones.
Stages are those of ``node.pipeline.meter``; a pipeline with others has no parts.
"""

from dataclasses import dataclass

from node.admission.work import Part, Sizes, encode_part
from node.job.evaluations import evaluations_until, is_counted
from node.job.progress import Progress
from node.job.spec import JobSpec

_STAGES = ("still", "still decode", "clip", "clip decode", "encode")


@dataclass(slots=True)
class _Stage:
    name: str
    began: float
    last: float
    first: float | None = None
    first_step: int = 0
    done: int = 0
    steps: int = 0

    @property
    def complete(self) -> bool:
        """Whether every step was seen, from the first one on."""
        return self.first is not None and self.done == self.steps


class StageTimes:
    """Listens to one job; ``samples`` when it is done."""

    def __init__(self, spec: JobSpec, sizes: Sizes) -> None:
        self._spec = spec
        self._sizes = sizes
        self._stages: list[_Stage] = []
        self._ended_at: float | None = None

    def told(self, progress: Progress, now: float) -> None:
        """Take a report into account; ``now`` is monotonic, in seconds."""
        if progress.artifact is not None:
            return
        current = self._stages[-1] if self._stages else None
        if current is None or progress.stage != current.name or (progress.step == 0 and current.done):
            if progress.stage == _STAGES[0]:
                # Another worker begins anew where the one before it died.
                self._stages.clear()
            self._stages.append(_Stage(progress.stage, now, now, steps=progress.steps))
        elif progress.step == 0:
            current.began = current.last = now
        else:
            current.last, current.done = now, progress.step
            if current.first is None:
                current.first, current.first_step = now, progress.step

    def ended(self, now: float) -> None:
        """Take note that the result is there."""
        self._ended_at = now

    def samples(self) -> dict[Part, list[float]]:
        """Return what was measured, by part."""
        if not self._is_whole():
            return {}
        spec, sizes = self._spec, self._sizes
        stills = spec.batching * sizes.still_pixels / 1e6
        frames = sizes.frames * sizes.frame_pixels / 1e6
        found: dict[Part, list[float]] = {}
        for stage in self._stages:
            taken = stage.last - stage.began
            match stage.name:
                case "still":
                    _sampling(found, stage, spec.sampler, stills, Part.STILL_START, Part.STILL_EVALUATION)
                case "still decode":
                    _add(found, Part.STILL_DECODE, taken / stills)
                case "clip":
                    _sampling(found, stage, spec.video_sampler, frames, Part.CLIP_START, Part.CLIP_EVALUATION)
                case "clip decode":
                    _add(found, Part.CLIP_DECODE, taken / frames)
        self._encoding(found, frames)
        if self._ended_at is not None:
            _add(found, Part.FINISH, self._ended_at - self._stages[-1].last)
        return found

    def _is_whole(self) -> bool:
        names = [stage.name for stage in self._stages]
        clips = ["clip", "clip decode"] * self._spec.batching
        return names == [*_STAGES[:2], *clips, _STAGES[-1]] and all(stage.complete for stage in self._stages)

    def _encoding(self, found: dict[Part, list[float]], frames: float) -> None:
        waited = self._stages[-1].last - self._stages[-1].began
        clips = [stage for stage in self._stages if stage.name.startswith("clip")]
        per_clip = sum(stage.last - stage.began for stage in clips) / self._spec.batching
        if waited > per_clip:
            # The clips before the last one were still being encoded, too.
            waited = (waited + (self._spec.batching - 1) * per_clip) / self._spec.batching
        _add(found, encode_part(self._spec), waited / frames)


def _sampling(
    found: dict[Part, list[float]], stage: _Stage, sampler: str, amount: float, start: Part, evaluation: Part
) -> None:
    if not is_counted(sampler) or stage.first is None or stage.first_step == stage.steps:
        return
    first = evaluations_until(sampler, stage.first_step, stage.steps)
    later = evaluations_until(sampler, stage.done, stage.steps) - first
    pace = (stage.last - stage.first) / later
    _add(found, evaluation, pace / amount)
    _add(found, start, stage.first - stage.began - first * pace)


def _add(found: dict[Part, list[float]], part: Part, seconds: float) -> None:
    found.setdefault(part, []).append(max(0.0, seconds))
