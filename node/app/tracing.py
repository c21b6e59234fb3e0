"""Traces as the settings say: what tells of jobs, beside what shows them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from node import __version__
from node.app.publishing import secret_line
from node.clock import Clock
from node.engine.engine import Observer
from node.errors import Misconfigured
from node.job.events import JobEvent
from node.job.job import Job
from node.job.progress import Progress
from node.journal.records import SkippedLog
from node.observe.job_traces import History, JobTraces
from node.observe.otlp import OtlpSpans
from node.traces_settings import TracesSection
from node.types import JobId


class Tracing:
    """Does nothing unless ``traces.enabled``. Raises Misconfigured for settings that cannot be followed."""

    def __init__(
        self, settings: TracesSection, history: History, *, market: str, provider: str, clock: Clock
    ) -> None:
        self._spans: OtlpSpans | None = None
        self._jobs: JobTraces | None = None
        if settings.enabled:
            self._spans = OtlpSpans(
                settings.endpoint,
                headers=_headers(settings.header_file),
                sample_ratio=settings.sample_ratio,
                version=__version__,
            )
            self._jobs = JobTraces(self._spans, history, market=market, provider=provider, clock=clock)

    def beside(self, observer: Observer) -> Observer:
        """Return an observer that tells both the given one and the traces."""
        return observer if self._jobs is None else _Both(observer, self._jobs)

    def progress(self, on_progress: Callable[[JobId, Progress], None]) -> Callable[[JobId, Progress], None]:
        """Return what tells both ``on_progress`` and the traces of a job's progress."""
        jobs = self._jobs
        if jobs is None:
            return on_progress

        def both(job_id: JobId, progress: Progress) -> None:
            on_progress(job_id, progress)
            jobs.progressed(job_id, progress)

        return both

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tell of jobs while the context lasts, and send what is left at its end."""
        if self._jobs is None or self._spans is None:
            yield
            return
        telling = asyncio.create_task(self._jobs.run(), name="traces")
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.to_thread(self._spans.close)


class _Both:
    """Meets the engine's ``Observer``."""

    def __init__(self, first: Observer, jobs: JobTraces) -> None:
        self._first = first
        self._jobs = jobs

    def job_changed(self, job: Job, event: JobEvent) -> None:
        self._first.job_changed(job, event)
        self._jobs.job_changed(job)

    def log_skipped(self, skipped: SkippedLog) -> None:
        self._first.log_skipped(skipped)

    def job_waits(self, job_id: JobId, reason: str) -> None:
        self._first.job_waits(job_id, reason)


def _headers(file: str) -> dict[str, str]:
    if not file:
        return {}
    name, separator, value = secret_line(file, "the header file of [traces]").reveal().partition(":")
    if not separator or not name.strip().replace("-", "").isalnum() or not value.strip():
        raise Misconfigured(
            f"the header file of [traces] {file} must hold one line such as Authorization: Bearer TOKEN"
        )
    return {name.strip(): value.strip()}
