"""Following the chain: batches into the inbox, deadlines by confirmed time, and the node's own gauges."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from node.chain.logs import ReorgDetected
from node.clock import Clock
from node.engine.engine import Engine, Facts
from node.errors import Retryable
from node.journal.records import CursorRow
from node.market.batch import FeedBatch

EMPTY_CURSOR_EVERY_S = 15.0
MAX_PAUSE_S = 15.0
RECONCILE_EVERY_S = 60.0
_LOOK_S = 1.0


class Pause(Protocol):
    """Waits for the next block; the chain's ``HeadBell.wait`` where blocks are pushed."""

    async def __call__(self, timeout_s: float, /) -> None:
        """Return early if there may be a new block, else after ``timeout_s``."""
        ...


class Feed(Protocol):
    """The market's feed."""

    async def next(self) -> FeedBatch | None:
        """Return what the next range of blocks means for us, or None. Raises ReorgDetected."""
        ...

    def rewind(self, cursor: CursorRow) -> None:
        """Read on behind this block."""
        ...


class Rewinds(Protocol):
    """The engine's ``Rewinder``."""

    async def rewind(self, broken: ReorgDetected) -> CursorRow:
        """Take back what rested on dropped blocks and return the block to read on from."""
        ...


class LooksAtSettled(Protocol):
    """The engine's ``SettledCheck``."""

    async def look(self, first_block: int, last_block: int) -> None:
        """Open transactions again that are no longer in the block they were mined in."""
        ...


class Rereads(Protocol):
    """The engine's ``Reconciler``."""

    async def reread_from(self, read_up_to: int) -> CursorRow | None:
        """Return the block behind which logs have to be read again, if any."""
        ...


class Follower:
    """Reads the feed for ever. An endpoint that fails is asked again with growing pauses, and it is said."""

    def __init__(
        self,
        feed: Feed,
        engine: Engine,
        *,
        rewinder: Rewinds,
        reconciler: Rereads,
        settled: LooksAtSettled,
        read_up_to: int | None,
        poll_interval_s: float,
        clock: Clock,
        on_batch: Callable[[FeedBatch], None],
        on_trouble: Callable[[str | None], None],
        pause: Pause | None = None,
    ) -> None:
        self._feed = feed
        self._engine = engine
        self._rewinder = rewinder
        self._reconciler = reconciler
        self._settled = settled
        self._unchecked: tuple[int, int] | None = None
        self._reconciled_at = clock.monotonic()
        self._read_up_to = read_up_to
        self._poll_interval_s = poll_interval_s
        self._clock = clock
        self._pause = pause or clock.sleep
        self._on_batch = on_batch
        self._on_trouble = on_trouble
        # The first block read is one to come back to, whether anything was in it or not.
        self._cursor_at = -EMPTY_CURSOR_EVERY_S
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(Retryable),
                wait=wait_exponential_jitter(multiplier=0.5, max=MAX_PAUSE_S, jitter=0.5),
                sleep=self._clock.sleep,
                before_sleep=self._say_trouble,
            ):
                with attempt:
                    batch = await self._next()
            self._on_trouble(None)
            if batch is None:
                await self._pause(self._poll_interval_s)
                continue
            await self._hand_over(batch)

    async def _next(self) -> FeedBatch | None:
        if self._unchecked is not None:
            await self._settled.look(*self._unchecked)
            self._unchecked = None
        await self._look_again_if_due()
        try:
            return await self._feed.next()
        except ReorgDetected as broken:
            # Another reorganisation may have come meanwhile: the next reading tells.
            self._go_back(await self._rewinder.rewind(broken))
            return None

    async def _look_again_if_due(self) -> None:
        now = self._clock.monotonic()
        if self._read_up_to is None or now - self._reconciled_at < RECONCILE_EVERY_S:
            return
        reread = await self._reconciler.reread_from(self._read_up_to)
        self._reconciled_at = now
        if reread is not None:
            self._go_back(reread)

    def _go_back(self, cursor: CursorRow) -> None:
        self._feed.rewind(cursor)
        self._read_up_to = cursor.block_number

    async def _hand_over(self, batch: FeedBatch) -> None:
        now = self._clock.monotonic()
        if not batch.empty or now - self._cursor_at >= EMPTY_CURSOR_EVERY_S:
            self._cursor_at = now
            await self._engine.post(
                Facts(
                    events=tuple(batch.events),
                    cursor=batch.cursor,
                    rests_on=batch.rests_on,
                    payments=tuple(batch.payments),
                    skipped=tuple(batch.skipped),
                )
            )
        self._unchecked = (0 if self._read_up_to is None else self._read_up_to + 1, batch.last.number)
        self._read_up_to = batch.last.number
        self._on_batch(batch)
        await self._engine.chain_time_reached(batch.chain_time)

    def _say_trouble(self, state: RetryCallState) -> None:
        problem = str(state.outcome.exception()) if state.outcome else "no answer"
        self._on_trouble(problem)
        self._log.warning("chain_unreachable", problem=problem, attempt=state.attempt_number)


class Refresher:
    """Refreshes slow readings (balances, earnings) every few seconds, or within one if ``sooner`` changes."""

    def __init__(
        self,
        read: Callable[[], Awaitable[dict[str, Any]]],
        *,
        every_s: float,
        clock: Clock,
        update: Callable[..., None],
        sooner: Callable[[], object] = lambda: None,
    ) -> None:
        self._read = read
        self._sooner = sooner
        self._every_s = every_s
        self._clock = clock
        self._update = update

    async def run(self) -> None:
        """Refresh until cancelled; a reading that fails keeps its last value."""
        log = structlog.get_logger()
        while True:
            known = self._sooner()
            try:
                self._update(**await self._read())
            except Retryable as problem:
                log.debug("gauges_not_read", problem=str(problem))
            due = self._clock.monotonic() + self._every_s
            while self._clock.monotonic() < due and self._sooner() == known:
                await self._clock.sleep(min(_LOOK_S, self._every_s))
