"""The node as seen from outside: plain JSON values for the dashboard, the API and the command line.

Listens to the engine, reads the journal for what is older, and changes nothing.
"""

import contextlib
import shutil
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from node.clock import Clock
from node.engine.book import Book
from node.engine.news import Change, News
from node.engine.offer_tally import OfferTally
from node.engine.shown import shown_output, shown_progress, shown_run_time, shown_step, shown_transaction
from node.engine.statements import Statements
from node.job.copies import Copy
from node.job.events import Declined, JobEvent, OfferSeen, Rendered
from node.job.job import Job
from node.job.outputs import image_path
from node.job.phase import Phase
from node.job.progress import Progress
from node.job.transactions import TxRow
from node.journal.ledger_rows import JobFilter
from node.journal.records import JobRow, SkippedLog, TimelineRow
from node.types import Cid, DealId, JobId

SHOWN_SKIPPED = 20
PROGRESS_EVERY_S = 0.5


class HistoryJournal(Protocol):
    """What older jobs are read from."""

    async def job(self, job_id: JobId) -> JobRow | None:
        """Return one job."""
        ...

    async def timeline(self, job_id: JobId) -> list[TimelineRow]:
        """Return a job's events, oldest first."""
        ...

    async def skipped(self, limit: int) -> list[SkippedLog]:
        """Return the last logs that were not worth a job, newest first."""
        ...


class TransactionHistory(Protocol):
    """Which transactions a job caused."""

    async def rows_of(self, prefix: str) -> list[TxRow]:
        """Return the intents whose id begins with the prefix and a colon."""
        ...


class Counters(Protocol):
    """The part of the metrics that follows jobs."""

    def offer_seen(self) -> None:
        """Count an offer."""
        ...

    def offer_refused(self, reason: str) -> None:
        """Count an offer that was not taken, by a short reason."""
        ...

    def job_finished(self, phase: str) -> None:
        """Count a job that ended."""
        ...

    def paid(self, amount_wei: int) -> None:
        """Count a payment received."""
        ...

    def rendered(self, stage: str, seconds: float) -> None:
        """Record how long a stage took."""
        ...

    def stepped(self, stage: str, steps: int) -> None:
        """Count steps of a stage that were computed."""
        ...


class CopyHistory(Protocol):
    """What the journal knows of the copies of a result."""

    async def of_job(self, job_id: JobId) -> tuple[Copy, ...]:
        """Return where a job's result is, by place."""
        ...


class Snapshot:
    """Meets the engine's ``Observer`` and the web's ``StatusSource``.

    ``pursued`` tells at which places a job's result is still to be stored or read; None: no node runs.
    """

    def __init__(
        self,
        *,
        book: Book,
        journal: HistoryJournal,
        transactions: TransactionHistory,
        counters: Counters,
        clock: Clock,
        data_dir: Path,
        fixed: dict[str, Any],
        worker: Callable[[], dict[str, Any]],
        places: Callable[[], list[dict[str, Any]]],
        statements: Statements,
        copies: CopyHistory,
        pursued: Callable[[JobId], Collection[str]] | None = None,
        forecast: Callable[[Job], dict[str, Any] | None] = lambda _job: None,
        run_times: Callable[[], dict[str, Any]] = dict,
        operation: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._book = book
        self._journal = journal
        self._transactions = transactions
        self._counters = counters
        self._clock = clock
        self._data_dir = data_dir
        self._fixed = {"started_at": clock.now(), **fixed}
        self._worker = worker
        self._places = places
        self._forecast = forecast
        self._run_times = run_times
        self._operation = operation
        self._copies = copies
        self._pursued = pursued
        self._statements = statements
        self._changing: dict[str, Any] = {}
        self._progress: dict[JobId, Progress] = {}
        self._told_progress_at: dict[JobId, float] = {}
        self._stage_began_at: dict[JobId, float] = {}
        self._waiting: dict[JobId, str] = {}
        self._skipped: deque[SkippedLog] = deque(maxlen=SHOWN_SKIPPED)
        self._left: Counter[str] = Counter()
        self._tally = OfferTally(self._fixed["started_at"])
        self._stills: dict[JobId, dict[int, str]] = {}
        self._news = News()

    async def restore(self) -> None:
        """Take over what is shown of the time before this start."""
        self._skipped.extend(await self._journal.skipped(SHOWN_SKIPPED))

    def job_changed(self, job: Job, event: JobEvent) -> None:
        """Take note of one step of a job."""
        self._waiting.pop(job.job_id, None)
        self._tally.job_changed(job, event)
        if isinstance(event, OfferSeen):
            self._counters.offer_seen()
        if isinstance(event, Rendered) and (last := self._progress.get(job.job_id)) is not None:
            began_at = self._stage_began_at[job.job_id]
            self._counters.rendered(last.stage, self._clock.monotonic() - began_at)
        if isinstance(event, Declined) and event.rule:
            self._counters.offer_refused(event.rule)
        if job.phase != Phase.RENDERING:
            for known in (self._progress, self._told_progress_at, self._stage_began_at):
                known.pop(job.job_id, None)
        if job.phase.terminal or job.cid is not None:
            self._stills.pop(job.job_id, None)
        if job.phase.terminal:
            self._counters.job_finished(job.phase)
        if job.phase == Phase.PAID:
            self._counters.paid(job.paid_wei)
        self._news.tell(Change.JOB, job.job_id)

    def log_skipped(self, skipped: SkippedLog) -> None:
        """Take note of a log that is not worth a job."""
        self._skipped.appendleft(skipped)
        self._tally.skipped(skipped)
        if skipped.kind is not None:
            self._left[skipped.kind] += 1
            self._counters.offer_refused(skipped.kind)

    def job_waits(self, job_id: JobId, reason: str) -> None:
        """Remember why a job waits until its next step, so that people are told."""
        if self._waiting.get(job_id) != reason:
            self._waiting[job_id] = reason
            self._news.tell(Change.JOB, job_id)

    def progressed(self, job_id: JobId, progress: Progress) -> None:
        """Take note of the worker's progress; listeners hear of it a few times a second."""
        now = self._clock.monotonic()
        before = self._progress.get(job_id)
        if before is None or before.stage != progress.stage:
            if before is not None:
                self._counters.rendered(before.stage, now - self._stage_began_at[job_id])
            self._stage_began_at[job_id] = now
            done = progress.step
        else:
            done = progress.step - before.step
        if done > 0:
            self._counters.stepped(progress.stage, done)
        self._progress[job_id] = progress
        if progress.artifact is not None:
            self._still_made(job_id, progress.artifact)
        told_at = self._told_progress_at.get(job_id)
        if told_at is None or now - told_at >= PROGRESS_EVERY_S or progress.fraction >= 1:
            self._told_progress_at[job_id] = now
            self._news.tell(Change.PROGRESS, job_id)

    def update(self, **parts: Any) -> None:
        """Replace parts of the status, e.g. ``chain={...}`` or ``wallet={...}``."""
        if any(self._changing.get(name) != value for name, value in parts.items()):
            self._changing.update(parts)
            self._news.tell(Change.STATUS)

    def part(self, name: str) -> Any:
        """Return a part of the status as last updated, None before."""
        return self._changing.get(name)

    def status(self) -> dict[str, Any]:
        """Return the whole node's state."""
        return {
            **self._fixed,
            "worker": self._worker(),
            "run_times": self._run_times(),
            "operation": self._operation(),
            "targets": self._places(),
            "disk": {"path": str(self._data_dir), "free_bytes": shutil.disk_usage(self._data_dir).free},
            "jobs": {"by_phase": self._book.counts()},
            "skipped": [
                {"job_number": log.job_number, "block_number": log.block_number, "reason": log.reason}
                for log in self._skipped
            ],
            "skipped_since_start": dict(self._left),
            "offers": self._tally.to_json(),
            **self._changing,
        }

    async def jobs(
        self, limit: int, before: str | None, chosen: JobFilter | None = None
    ) -> list[dict[str, Any]]:
        """Return up to ``limit`` of the chosen jobs, newest first, older than the job ``before``."""
        place = None
        if before and before[:1] in "jh" and before[1:].isdecimal():
            place = (int(before[1:]), JobId(before))
        rows = await self._statements.jobs(chosen or JobFilter(), limit, place)
        gas = await self._statements.gas_of([row.job.job_id for row in rows])
        return [{**self._describe(row), "gas_wei": str(gas.get(row.job.job_id, 0))} for row in rows]

    async def job(self, job_id: str) -> dict[str, Any] | None:
        """Return one job with its timeline, transactions and money, or None."""
        row = self._book.row(JobId(job_id)) or await self._journal.job(JobId(job_id))
        if row is None:
            return None
        timeline = await self._journal.timeline(row.job.job_id)
        transactions = await self._transactions.rows_of(row.job.job_id)
        money = await self._statements.of_job(row.job)
        return {
            **self._describe(row),
            "gas_wei": money["gas_wei"],
            "money": money,
            "copies": await self._copies_of(row.job.job_id),
            "run_time": shown_run_time(timeline),
            "timeline": [shown_step(step) for step in timeline],
            "transactions": [shown_transaction(tx) for tx in transactions],
        }

    async def _copies_of(self, job_id: JobId) -> list[dict[str, Any]]:
        """Return a job's copies; ``awaited`` is None where no node runs that could go on with them."""
        pursued = None if self._pursued is None else self._pursued(job_id)
        return [
            {**asdict(copy), "awaited": None if pursued is None else copy.place in pursued}
            for copy in await self._copies.of_job(job_id)
        ]

    async def subscribe(self) -> AsyncIterator[dict[str, Any]]:
        """Yield ``{"type": "job" | "progress" | "status", "data": {...}}`` as things change, until closed.

        A job's progress is told without its story, which does not change meanwhile and costs the journal
        time. A listener that falls behind is told less often, never made to wait for.
        """
        async with contextlib.aclosing(self._news.listen()) as changes:
            async for item in changes:
                data: dict[str, Any] | None
                if item.job_id is None:
                    data = self.status()
                elif item.change is Change.PROGRESS:
                    data = self._progress_of(item.job_id)
                else:
                    data = await self.job(item.job_id)
                if data is not None:
                    yield {"type": item.change.name.lower(), "data": data}

    def still(self, job_id: str, number: int) -> tuple[Path, str] | None:
        """Return a job's folder and the path from there of a still that is complete and not published yet."""
        path = self._stills.get(JobId(job_id), {}).get(number)
        return None if path is None else (self._data_dir / "jobs" / job_id, path)

    def _still_made(self, job_id: JobId, artifact: str) -> None:
        job = self._book.get(job_id)
        for number in range(1, job.offer.spec.batching + 1 if job else 1):
            if PurePosixPath(artifact).match(image_path(number)):
                self._stills.setdefault(job_id, {})[number] = artifact
                self._news.tell(Change.JOB, job_id)

    def _progress_of(self, job_id: JobId) -> dict[str, Any] | None:
        progress, row = self._progress.get(job_id), self._book.row(job_id)
        if progress is None or row is None:
            return None
        return {
            "job_id": job_id,
            "progress": shown_progress(progress),
            "estimate": self._forecast(row.job),
            "updated_at": row.updated_at,
        }

    def _describe(self, row: JobRow) -> dict[str, Any]:
        job = row.job
        spec = job.offer.spec
        deal_id: DealId | None = job.deal.deal_id if job.deal else None
        cid: Cid | None = job.cid
        progress = self._progress.get(job.job_id)
        result = self._data_dir / "jobs" / job.job_id / "result"
        return {
            "job_id": job.job_id,
            "deal_id": deal_id,
            "phase": job.phase.value,
            "terminal": job.phase.terminal,
            "module": spec.module,
            "prompt": spec.prompt,
            "inputs": {name: str(value) for name, value in spec.tunables().items()},
            "notes": list(spec.notes),
            "requester": job.offer.requester,
            "price_wei": str(job.deal.pricing.instruction_price_wei) if job.deal else None,
            "paid_wei": str(job.paid_wei),
            "cid": cid,
            "reason": job.reason or self._waiting.get(job.job_id),
            "determinism_class": job.determinism_class,
            "deadline": job.deadline,
            "seen_at": row.seen_at,
            "updated_at": row.updated_at,
            "progress": None if progress is None else shown_progress(progress),
            "stills": sorted(self._stills.get(job.job_id, ())),
            "outputs": [shown_output(result, path) for path in job.outputs],
            "estimate": self._forecast(job),
            "run_time": None,
            "copies": [],
            "timeline": [],
            "transactions": [],
        }
