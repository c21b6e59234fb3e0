"""How far a job is: steps of stages turned into one fraction of the whole job, which never falls."""

from collections.abc import Callable
from dataclasses import replace
from threading import Lock

from node.job.progress import Progress
from node.job.spec import JobSpec

OnProgress = Callable[[Progress], None]
OnStep = Callable[[int, int], None]
# Rough shares of a job's time, in steps of the video sampler; only what people are told depends on them.
_STILL_STEP, _STILL_DECODE, _CLIP_DECODE, _ENCODE = 0.1, 0.2, 2.0, 3.0


class Meter:
    """Tells the stages of one job, begun in the order in which they are computed.

    Reports come one at a time, whichever thread they come from.
    """

    def __init__(self, spec: JobSpec, on_progress: OnProgress) -> None:
        self._spec = spec
        self._on_progress = on_progress
        self._done = 0.0
        stills = spec.batching * (_STILL_STEP * spec.steps + _STILL_DECODE)
        self._whole = stills + spec.batching * (spec.video_steps + _CLIP_DECODE) + _ENCODE
        self._last = Progress("still", 0, spec.steps, 0.0)
        self._lock = Lock()

    def still(self) -> OnStep:
        """Begin the sampling of all stills; the callback is told each step."""
        steps = self._spec.steps
        return self._stage("still", _STILL_STEP * steps * self._spec.batching, steps)

    def still_decode(self) -> OnStep:
        """Begin the decoding of all stills."""
        return self._stage("still decode", _STILL_DECODE * self._spec.batching, 1)

    def clip(self) -> OnStep:
        """Begin the sampling of the next clip; the callback is told each step."""
        return self._stage("clip", float(self._spec.video_steps), self._spec.video_steps)

    def clip_decode(self) -> OnStep:
        """Begin the decoding of that clip."""
        return self._stage("clip decode", _CLIP_DECODE, 1)

    def encode(self) -> OnStep:
        """Begin to wait for what is left of encoding when the last clip is computed."""
        return self._stage("encode", _ENCODE, self._spec.batching)

    def artifact(self, path: str) -> None:
        """Tell that a file, given by its path from the job's directory, is complete."""
        with self._lock:
            self._on_progress(replace(self._last, artifact=path))

    def _stage(self, name: str, share: float, steps: int) -> OnStep:
        """Tell that a stage begins, and return what tells its steps."""
        before = self._done
        self._done += share

        def step(done: int, steps: int) -> None:
            fraction = min(1.0, (before + share * done / steps) / self._whole)
            with self._lock:
                self._last = Progress(name, done, steps, max(fraction, self._last.fraction))
                self._on_progress(self._last)

        step(0, steps)
        return step
