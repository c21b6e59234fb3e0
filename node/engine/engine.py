"""Every fact enters by one inbox, is decided by ``transition``, journaled, and only then acted on.

Effects run as tasks after their commit and hand their event back to the inbox. A crash at any point loses
nothing: what is journaled is repeated, and every handler asks the outside world whether it is already done.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from node.clock import Clock
from node.engine.book import Book
from node.engine.rivals import undisputed
from node.errors import JobFailed, NotYet, Retryable
from node.job.effects import Effect, EffectKind
from node.job.events import CannotDeliver, HireSeen, JobEvent, OfferSeen
from node.job.job import Job
from node.job.rewind import outlived
from node.job.transition import due, open_job, transition
from node.journal.records import Commit, CursorRow, Entry, JobRow, LedgerRow, Recovered, SkippedLog
from node.types import JobId

Handler = Callable[[Job, Effect], Awaitable[JobEvent | None]]
INBOX_SIZE = 64
RECENT_AT_START = 200
EVALUATIONS_AT_ONCE = 16
"""They mostly wait for the chain; each verdict counts what the ones before it promised (``Book.promise``)."""


class EngineJournal(Protocol):
    """What the engine needs of the journal."""

    async def commit(self, commit: Commit) -> None:
        """Make everything in the commit durable together."""
        ...

    async def recover(self) -> Recovered:
        """Return where the node stood when it stopped."""
        ...

    async def jobs(self, limit: int, before: int | None = None) -> list[JobRow]:
        """Return jobs, newest first."""
        ...

    async def job(self, job_id: JobId) -> JobRow | None:
        """Return one job."""
        ...

    async def counts(self) -> dict[str, int]:
        """Return how many jobs are in each phase."""
        ...


class Observer(Protocol):
    """Hears of every change after it is durable; must not block."""

    def job_changed(self, job: Job, event: JobEvent) -> None:
        """Take note of one step."""
        ...

    def log_skipped(self, skipped: SkippedLog) -> None:
        """Take note of a log that is not worth a job."""
        ...

    def job_waits(self, job_id: JobId, reason: str) -> None:
        """Take note of why a job's next step has to wait."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """One message to the inbox: events in order, and what becomes durable with them.

    ``as_of``: a job and which life of it this was found out for.
    """

    events: tuple[tuple[JobId, JobEvent], ...] = ()
    done: tuple[str, ...] = ()
    cursor: CursorRow | None = None
    rests_on: tuple[CursorRow, ...] = ()
    payments: tuple[LedgerRow, ...] = ()
    skipped: tuple[SkippedLog, ...] = ()
    rewind: CursorRow | None = None
    as_of: tuple[JobId, tuple[int, int, bool]] | None = None


@dataclass(slots=True)
class _Letter:
    facts: Facts
    taken: asyncio.Future[None] = field(repr=False)


class Engine:
    """Owns the jobs. ``run`` ends only by cancellation or by an error that must stop the node."""

    def __init__(
        self,
        journal: EngineJournal,
        handlers: Mapping[EffectKind, Handler],
        *,
        book: Book,
        observer: Observer,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._handlers = handlers
        self._book = book
        self._observer = observer
        self._clock = clock
        self._inbox: asyncio.Queue[_Letter] = asyncio.Queue(INBOX_SIZE)
        self._tasks: asyncio.TaskGroup | None = None
        self._running: set[str] = set()
        self._recovered: tuple[Effect, ...] = ()
        self._evaluating = asyncio.Semaphore(EVALUATIONS_AT_ONCE)
        self._log = structlog.get_logger()

    async def recover(self) -> CursorRow | None:
        """Load what is open and return the cursor. Orders that are still open are carried out by ``run``."""
        found = await self._journal.recover()
        ended = await self._journal.jobs(RECENT_AT_START)
        self._book.restore(found.jobs, ended, found.deals, await self._journal.counts())
        self._recovered = found.effects
        if found.jobs:
            self._log.info("jobs_recovered", jobs=len(found.jobs), orders=len(found.effects))
        return found.cursor

    async def run(self) -> None:
        """Take facts and carry out orders until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._dispatch(self._recovered)
            while True:
                letter = await self._inbox.get()
                if self._is_outdated(letter.facts):
                    letter.taken.set_exception(NotYet("the chain was reorganised meanwhile"))
                    continue
                try:
                    await self._take(letter.facts)
                except BaseException:
                    letter.taken.cancel()
                    raise
                letter.taken.set_result(None)

    async def post(self, facts: Facts) -> None:
        """Hand facts to the engine; returns when they are durable.

        Raises NotYet if they were found out of blocks that are gone: they are asked for again then.
        """
        letter = _Letter(facts, asyncio.get_running_loop().create_future())
        await self._inbox.put(letter)
        await asyncio.shield(letter.taken)

    async def chain_time_reached(self, timestamp: int) -> None:
        """Move the jobs whose deadline has passed by chain time."""
        late = [(job.job_id, event) for job in self._book.open_jobs() if (event := due(job, timestamp))]
        if late:
            await self.post(Facts(events=tuple(late)))

    def _is_outdated(self, facts: Facts) -> bool:
        if facts.as_of is None:
            return False
        job_id, life = facts.as_of
        job = self._book.get(job_id)
        return job is not None and job.life != life

    async def _take(self, facts: Facts) -> None:
        entries = [entry async for entry in self._decide(facts.events)]
        commit = Commit(
            entries=tuple(entries),
            done=facts.done,
            cursor=facts.cursor,
            rests_on=facts.rests_on,
            payments=facts.payments,
            skipped=facts.skipped,
            rewind=facts.rewind,
        )
        await self._journal.commit(commit)
        now = self._clock.now()
        for entry in entries:
            self._book.put(entry.job, now)
            self._observer.job_changed(entry.job, entry.event)
            self._say_step(entry)
        for skipped in facts.skipped:
            self._observer.log_skipped(skipped)
        self._dispatch(effect for entry in entries for effect in entry.effects)

    async def _decide(self, events: Iterable[tuple[JobId, JobEvent]]) -> AsyncIterator[Entry]:
        changed: dict[JobId, Job] = {}
        for job_id, happened in events:
            event = undisputed(job_id, happened, self._book.holder)
            if event is None:
                continue
            job = changed.get(job_id) or self._book.get(job_id)
            if job is None:
                job = await self._from_journal(job_id, event)
            if job is None and isinstance(event, (OfferSeen, HireSeen)):
                after, effects = open_job(event)
            elif job is None:
                raise LookupError(f"{job_id} is not in the journal but has a deal")
            else:
                after, effects = transition(job, event)
                if after == job:
                    continue
            changed[job_id] = after
            yield Entry(after, event, effects)

    async def _from_journal(self, job_id: JobId, event: JobEvent) -> Job | None:
        if isinstance(event, (OfferSeen, HireSeen)) and event.offer.number > self._book.highest_number:
            return None
        row = await self._journal.job(job_id)
        return row.job if row else None

    def _dispatch(self, effects: Iterable[Effect]) -> None:
        if self._tasks is None:
            raise RuntimeError("the engine is not running")
        for effect in effects:
            if effect.effect_id not in self._running:
                self._running.add(effect.effect_id)
                self._tasks.create_task(self._carry_out(effect), name=effect.effect_id)

    async def _carry_out(self, effect: Effect) -> None:
        structlog.contextvars.bind_contextvars(job_id=effect.job_id, effect=effect.kind.value)
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(Retryable),
            wait=wait_exponential_jitter(multiplier=0.5, max=30.0, jitter=0.5),
            sleep=self._clock.sleep,
            before_sleep=partial(self._say_retry, effect),
        )
        try:
            async for attempt in attempts:
                with attempt:
                    if effect.kind is EffectKind.EVALUATE:
                        async with self._evaluating:
                            await self._once(effect)
                    else:
                        await self._once(effect)
        finally:
            self._running.discard(effect.effect_id)

    async def _once(self, effect: Effect) -> None:
        job = self._book.get(effect.job_id)
        if job is None:
            row = await self._journal.job(effect.job_id)
            if row is None:
                raise LookupError(f"{effect.effect_id} has no job")
            job = row.job
        if job.deal is not None:
            structlog.contextvars.bind_contextvars(deal_id=job.deal.deal_id)
        event: JobEvent | None = None
        if not (job.phase.terminal or outlived(job, effect)):
            try:
                event = await self._handlers[effect.kind](job, effect)
            except JobFailed as problem:
                event = CannotDeliver(str(problem))
        events = ((effect.job_id, event),) if event is not None else ()
        await self.post(Facts(events, (effect.effect_id,), as_of=(effect.job_id, job.life)))

    def _say_step(self, entry: Entry) -> None:
        job = entry.job
        told = {
            "deal_id": job.deal.deal_id if job.deal else None,
            "cid": job.cid,
            "reason": job.reason,
        }
        self._log.info(
            "job_changed",
            job_id=job.job_id,
            step=type(entry.event).__name__,
            phase=job.phase.value,
            **{name: value for name, value in told.items() if value},
        )

    def _say_retry(self, effect: Effect, state: RetryCallState) -> None:
        problem = state.outcome.exception() if state.outcome else None
        say = self._log.debug if isinstance(problem, NotYet) else self._log.warning
        self._observer.job_waits(effect.job_id, str(problem))
        say("effect_retried", attempt=state.attempt_number, problem=str(problem))
