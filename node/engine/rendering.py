"""Carrying out RENDER: the worker behind the engine's effects."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from node.admission.run_times import RunTimes
from node.clock import Clock
from node.engine.engine import Facts
from node.engine.forecast import Forecast
from node.job.effects import Effect
from node.job.events import JobEvent, Rendered, RenderStarted
from node.job.job import Job
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.types import JobId


class RenderOutput(Protocol):
    """What a finished rendering tells."""

    @property
    def directory(self) -> Path:
        """The result directory."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Paths of the promised files, relative to the result directory."""
        ...

    @property
    def determinism_class(self) -> str:
        """Within which the same job gives the same bytes."""
        ...


class Renderer(Protocol):
    """The worker pool."""

    async def render(
        self, job_id: JobId, spec: JobSpec, job_dir: Path, on_progress: Callable[[Progress], None]
    ) -> RenderOutput:
        """Render the job, or return at once what is already on disk. Raises JobFailed."""
        ...


class Rendering:
    """Carries out RENDER."""

    def __init__(
        self,
        renderer: Renderer,
        post: Callable[[Facts], Awaitable[None]],
        on_progress: Callable[[JobId, Progress], None],
        jobs_dir: Path,
        times: RunTimes,
        forecast: Forecast,
        clock: Clock,
        on_taken: Callable[[float, float], None] = lambda _expected_s, _taken_s: None,
    ) -> None:
        self._renderer = renderer
        self._post = post
        self._on_progress = on_progress
        self._jobs_dir = jobs_dir
        self._times = times
        self._forecast = forecast
        self._on_taken = on_taken
        self._clock = clock

    async def render(self, job: Job, effect: Effect) -> JobEvent:
        """Have the worker render; the job counts as RENDERING from its first sign of life.

        How long it took is learned from, and told beside what was expected.
        """
        started = asyncio.Event()
        run = self._forecast.begin(job)
        began = ended = self._clock.monotonic()

        def progress(step: Progress) -> None:
            nonlocal began
            now = self._clock.monotonic()
            if not started.is_set():
                began = now
            run.told(step, now)
            started.set()
            self._on_progress(effect.job_id, step)

        async def announce() -> None:
            await started.wait()
            await self._post(Facts(events=((effect.job_id, RenderStarted()),)))

        announcing = asyncio.create_task(announce())
        try:
            job_dir = self._jobs_dir / job.job_id
            files = await self._renderer.render(job.job_id, job.offer.spec, job_dir, progress)
            ended = self._clock.monotonic()
            computed = started.is_set()
            started.set()
            await announcing
        finally:
            self._forecast.end(job)
            announcing.cancel()
        if not computed:
            return Rendered(files.outputs, files.determinism_class)
        expected_s, taken_s = run.expected.expected_s, ended - began
        run.ended(ended)
        await self._times.learn(run, taken_s, files.determinism_class)
        self._on_taken(expected_s, taken_s)
        return Rendered(files.outputs, files.determinism_class, round(expected_s, 3), round(taken_s, 3))
