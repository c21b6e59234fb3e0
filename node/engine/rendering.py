"""Carrying out RENDER and PUBLISH: the worker and the publisher behind the engine's effects."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from node.clock import Clock
from node.engine.engine import Facts
from node.job.effects import Effect
from node.job.events import JobEvent, Published, Rendered, RenderStarted
from node.job.job import Job
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.types import Cid, JobId


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


class Publishes(Protocol):
    """The publisher."""

    async def publish(self, job_id: JobId, directory: Path) -> Cid:
        """Store a directory, read it back, return its CID."""
        ...


class RunTimes:
    """How long jobs take here, in seconds: a moving average of measured ones."""

    WEIGHT_OF_NEWEST = 0.3

    def __init__(self, initial_s: float) -> None:
        self.estimate_s = initial_s
        self._measured = False

    def measured(self, seconds: float) -> None:
        """Count a finished job."""
        if not self._measured:
            self.estimate_s = seconds
        else:
            self.estimate_s += self.WEIGHT_OF_NEWEST * (seconds - self.estimate_s)
        self._measured = True


class Rendering:
    """Carries out RENDER."""

    def __init__(
        self,
        renderer: Renderer,
        post: Callable[[Facts], Awaitable[None]],
        on_progress: Callable[[JobId, Progress], None],
        jobs_dir: Path,
        times: RunTimes,
        clock: Clock,
    ) -> None:
        self._renderer = renderer
        self._post = post
        self._on_progress = on_progress
        self._jobs_dir = jobs_dir
        self._times = times
        self._clock = clock

    async def render(self, job: Job, effect: Effect) -> JobEvent:
        """Have the worker render; the job counts as RENDERING from its first sign of life."""
        started = asyncio.Event()
        began = self._clock.monotonic()

        def progress(step: Progress) -> None:
            nonlocal began
            if not started.is_set():
                began = self._clock.monotonic()
            started.set()
            self._on_progress(effect.job_id, step)

        async def announce() -> None:
            await started.wait()
            await self._post(Facts(events=((effect.job_id, RenderStarted()),)))

        announcing = asyncio.create_task(announce())
        try:
            job_dir = self._jobs_dir / job.job_id
            files = await self._renderer.render(job.job_id, job.offer.spec, job_dir, progress)
            if started.is_set():
                self._times.measured(self._clock.monotonic() - began)
            started.set()
            await announcing
        finally:
            announcing.cancel()
        return Rendered(files.outputs, files.determinism_class)


class Publishing:
    """Carries out PUBLISH."""

    def __init__(
        self, publisher: Publishes, jobs_dir: Path, clock: Clock, on_published: Callable[[float], None]
    ) -> None:
        self._publisher = publisher
        self._jobs_dir = jobs_dir
        self._clock = clock
        self._on_published = on_published

    async def publish(self, job: Job, effect: Effect) -> JobEvent:
        """Store and read back the result. Raises Retryable while the store cannot take it."""
        began = self._clock.monotonic()
        cid = await self._publisher.publish(effect.job_id, self._jobs_dir / job.job_id / "result")
        self._on_published(self._clock.monotonic() - began)
        return Published(cid)
