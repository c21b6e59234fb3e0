"""A machine that renders at known speeds: the real meter's reports, at the times it would tell them."""

from collections.abc import Callable, Mapping

from node.admission.work import Part, Sizes, Stage, work_of
from node.job.evaluations import evaluations_until, sampler_steps
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.pipeline.meter import Meter

SIZES = Sizes(still_pixels=1024 * 1024, frame_pixels=1024 * 576, frames=25)
SPEEDS = {
    Part.STILL_START: 0.4,
    Part.STILL_EVALUATION: 0.02,
    Part.STILL_DECODE: 0.05,
    Part.CLIP_START: 0.3,
    Part.CLIP_EVALUATION: 0.025,
    Part.CLIP_DECODE: 0.03,
    Part.ENCODE: 0.1,
    Part.ENCODE_FILES: 0.15,
    Part.FINISH: 0.2,
}
"""Seconds per unit."""


class Machine:
    """Plays jobs on a clock of its own. ``unit_s`` are the true seconds per unit of each part."""

    def __init__(self, unit_s: Mapping[Part, float] = SPEEDS, sizes: Sizes = SIZES) -> None:
        self.unit_s = dict(unit_s)
        self.sizes = sizes
        self.now = 1000.0

    def takes_s(self, spec: JobSpec) -> float:
        """Return how long a job truly takes."""
        return work_of(spec, self.sizes).seconds(self.unit_s)

    def play(self, spec: JobSpec, told: Callable[[Progress, float], None]) -> float:
        """Tell a job's reports from its start to its result, and return the seconds between the two."""
        began = self.now
        meter = Meter(spec, lambda progress: told(progress, self.now))
        stages = iter(work_of(spec, self.sizes).stages(self.unit_s))
        self._sample(meter.still(), next(stages), spec.scheduler, spec.sampler, spec.steps)
        self._once(meter.still_decode(), next(stages).steps_s)
        for _ in range(spec.batching):
            video = (spec.video_scheduler, spec.video_sampler, spec.video_steps)
            self._sample(meter.clip(), next(stages), *video)
            self._once(meter.clip_decode(), next(stages).steps_s)
        step = meter.encode()
        self.now += next(stages).steps_s - self.unit_s[Part.FINISH]
        for clip in range(1, spec.batching + 1):
            step(clip, spec.batching)
        self.now += self.unit_s[Part.FINISH]
        return self.now - began

    def _sample(self, step, stage: Stage, scheduler, sampler, steps) -> None:
        levels = sampler_steps(scheduler, sampler, steps)
        whole = evaluations_until(sampler, levels, levels)
        began = self.now + stage.start_s
        for done in range(1, levels + 1):
            self.now = began + stage.steps_s * evaluations_until(sampler, done, levels) / whole
            step(done, levels)

    def _once(self, step, seconds) -> None:
        self.now += seconds
        step(1, 1)
