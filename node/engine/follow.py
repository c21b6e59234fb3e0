"""Following the chain: batches into the inbox, deadlines by confirmed time, and the node's own gauges."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from node.clock import Clock
from node.engine.engine import Engine, Facts
from node.errors import Retryable
from node.market.feed import FeedBatch

EMPTY_CURSOR_EVERY_S = 15.0
MAX_PAUSE_S = 15.0


class Feed(Protocol):
    """The market's feed."""

    async def next(self) -> FeedBatch | None:
        """Return what the next range of blocks means for us, or None."""
        ...


class Follower:
    """Reads the feed for ever. An endpoint that fails is asked again with growing pauses, and it is said."""

    def __init__(
        self,
        feed: Feed,
        engine: Engine,
        *,
        poll_interval_s: float,
        clock: Clock,
        on_batch: Callable[[FeedBatch], None],
        on_trouble: Callable[[str | None], None],
    ) -> None:
        self._feed = feed
        self._engine = engine
        self._poll_interval_s = poll_interval_s
        self._clock = clock
        self._on_batch = on_batch
        self._on_trouble = on_trouble
        self._cursor_at = clock.monotonic()
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
                    batch = await self._feed.next()
            self._on_trouble(None)
            if batch is None:
                await self._clock.sleep(self._poll_interval_s)
                continue
            await self._hand_over(batch)

    async def _hand_over(self, batch: FeedBatch) -> None:
        now = self._clock.monotonic()
        if not batch.empty or now - self._cursor_at >= EMPTY_CURSOR_EVERY_S:
            self._cursor_at = now
            await self._engine.post(
                Facts(
                    events=tuple(batch.events),
                    cursor=batch.cursor,
                    payments=tuple(batch.payments),
                    skipped=tuple(batch.skipped),
                )
            )
        self._on_batch(batch)
        await self._engine.chain_time_reached(batch.last.timestamp)

    def _say_trouble(self, state: RetryCallState) -> None:
        problem = str(state.outcome.exception()) if state.outcome else "no answer"
        self._on_trouble(problem)
        self._log.warning("chain_unreachable", problem=problem, attempt=state.attempt_number)


class Refresher:
    """Refreshes slow readings (balances, GPUs, earnings) every few seconds."""

    def __init__(
        self,
        read: Callable[[], Awaitable[dict[str, Any]]],
        *,
        every_s: float,
        clock: Clock,
        update: Callable[..., None],
    ) -> None:
        self._read = read
        self._every_s = every_s
        self._clock = clock
        self._update = update

    async def run(self) -> None:
        """Refresh until cancelled; a reading that fails keeps its last value."""
        log = structlog.get_logger()
        while True:
            try:
                self._update(**await self._read())
            except Retryable as problem:
                log.debug("gauges_not_read", problem=str(problem))
            await self._clock.sleep(self._every_s)
