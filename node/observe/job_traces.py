"""Telling of jobs' lives as they go on: what has ended is read from the journal and handed to an exporter.

Hears of every step and never makes one wait: what cannot be told is lost, and said once. After a restart a
job is told anew from its beginning, because the end of the life before may have lost its last spans: they are
the same spans, under the same ids.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from node.clock import Clock
from node.job.job import Job
from node.job.phase import Phase
from node.job.progress import Progress
from node.observe.job_spans import Attributes, Identity, JobSpan, Step, spans_of, stage_span
from node.types import JobId

MAX_WAITING: Final = 1024
UNTOLD: Final = frozenset({Phase.SEEN, Phase.REFUSED})
"""Anybody can post any number of offers: of those that are not taken there is no trace."""


class History(Protocol):
    """The part of the journal that is read."""

    async def timeline(self, job_id: JobId) -> Sequence[Step]:
        """Return a job's events, oldest first."""
        ...


class Spans(Protocol):
    """Where spans go; must not block."""

    def put(self, span: JobSpan) -> None:
        """Take a span, or lose it."""
        ...


class JobTraces:
    """Follows every job that is taken. ``run`` does the telling."""

    def __init__(self, spans: Spans, history: History, *, market: str, provider: str, clock: Clock) -> None:
        self._spans: Final = spans
        self._history: Final = history
        self._market: Final = market
        self._provider: Final = provider
        self._clock: Final = clock
        self._waiting: Final[asyncio.Queue[_News]] = asyncio.Queue(MAX_WAITING)
        self._told_until: Final[dict[JobId, float]] = {}
        self._stages: Final[dict[JobId, tuple[str, float]]] = {}
        self._known: Final[dict[JobId, Attributes]] = {}
        self._is_silenced = False
        self._log: Final = structlog.get_logger()

    def job_changed(self, job: Job) -> None:
        """Take note of one step of a job, after it was journalled."""
        if job.phase in UNTOLD:
            return
        self._known[job.job_id] = _known(job)
        if job.phase is not Phase.RENDERING:
            self._end_stage(job.job_id)
        self._put(_News(job.job_id, self._known[job.job_id], ends=job.phase.terminal))
        if job.phase.terminal:
            self._known.pop(job.job_id, None)

    def progressed(self, job_id: JobId, progress: Progress) -> None:
        """Take note of a stage that begins, and so of the end of the one before."""
        current = self._stages.get(job_id)
        if current is None or current[0] != progress.stage:
            self._end_stage(job_id)
            self._stages[job_id] = progress.stage, self._clock.now()

    async def run(self) -> None:
        """Tell of what ended until cancelled."""
        while True:
            news = await self._waiting.get()
            try:
                await self._tell(news)
            except Exception:  # noqa: BLE001 (a trace is never worth a job)
                self._say("traces_failed", exc_info=True)

    def _end_stage(self, job_id: JobId) -> None:
        stage = self._stages.pop(job_id, None)
        if stage is not None:
            known = self._known.get(job_id, {"sdv.job_id": job_id})
            self._put(_News(job_id, known, stage=(*stage, self._clock.now())))

    def _put(self, news: "_News") -> None:
        try:
            self._waiting.put_nowait(news)
        except asyncio.QueueFull:
            self._say("traces_lost", waiting=MAX_WAITING)

    async def _tell(self, news: "_News") -> None:
        identity = Identity(self._market, self._provider, news.job_id)
        steps = await self._history.timeline(news.job_id)
        if news.stage is not None:
            stage, began, ended = news.stage
            self._spans.put(stage_span(identity, steps, news.known, stage=stage, began=began, ended=ended))
            return
        after = self._told_until.get(news.job_id, 0.0)
        for span in spans_of(identity, steps, news.known, after=after):
            self._spans.put(span)
        if news.ends:
            self._told_until.pop(news.job_id, None)
        elif steps:
            self._told_until[news.job_id] = steps[-1].at

    def _say(self, event: str, **told: object) -> None:
        if not self._is_silenced:
            self._is_silenced = True
            self._log.warning(event, **told)


class _News:
    """What happened to one job."""

    __slots__ = ("ends", "job_id", "known", "stage")

    def __init__(
        self,
        job_id: JobId,
        known: Attributes,
        *,
        ends: bool = False,
        stage: tuple[str, float, float] | None = None,
    ) -> None:
        self.job_id = job_id
        self.known = known
        self.ends = ends
        self.stage = stage


def _known(job: Job) -> Attributes:
    found: Attributes = {"sdv.job_id": job.job_id, "sdv.module": job.offer.spec.module}
    if job.deal is not None:
        found["sdv.deal_id"] = job.deal.deal_id
    return found
