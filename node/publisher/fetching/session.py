"""Asking several sources at once, block by block.

Each source has a bounded number of requests open. Who is quick asks for more; when nothing else is left, what
a slow source still owes is asked of a quick one too, and the first answer counts. A source that sends a wrong
block is not asked again.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from node.errors import NodeError, Unreachable
from node.publisher.cid import BlockId
from node.publisher.errors import BadContent
from node.publisher.fetching.harvest import BadSource, Harvest, WrongBlock
from node.publisher.fetching.sources import NotHere, Source

OPEN_REQUESTS = 8
"""At a source at one time: with the largest blocks that is 16 MiB, with the usual ones 2."""
OVERTAKE_AFTER_S = 1.0
"""What a source has owed for so long is asked of another one that has nothing else to do."""
MAX_FAILURES, MAX_ABSENT = 3, 16
"""How often in a row a source may fail, or not have what it is asked for, before it is given up."""
_FAILURE_PAUSE_S = 0.2
_LOOK_AGAIN_S = 0.25


OnDrop = Callable[[str, str], None]
"""Hears the name of a source that is not asked any more, and why."""


def log_drop(source: str, problem: str) -> None:
    """Write it to the log."""
    structlog.get_logger().warning("source_dropped", source=source, problem=problem)


@dataclass(slots=True, eq=False)
class _Asked:
    """A source as this session sees it."""

    source: Source
    opening: "asyncio.Task[None] | None" = None
    failures: int = 0
    absent: int = 0
    problem: NodeError | None = None
    """Why it is not asked any more."""


@dataclass(slots=True)
class _Open:
    """A wanted block that has been asked for, since when, and of whom."""

    since: float
    requests: dict[int, "asyncio.Task[bytes]"] = field(default_factory=dict)


class BlockSession:
    """One gathering of a DAG from several sources."""

    def __init__(
        self,
        harvest: Harvest,
        sources: Sequence[Source],
        on_blocks: Callable[[], None] = lambda: None,
        on_drop: OnDrop = log_drop,
    ) -> None:
        self._harvest = harvest
        self._asked = [_Asked(source) for source in sources]
        self._on_blocks = on_blocks
        self._open: dict[BlockId, _Open] = {}
        self._refused: dict[BlockId, set[int]] = {}
        self._keeping: set[BlockId] = set()
        self._news = asyncio.Event()
        self._on_drop = on_drop

    @property
    def dropped(self) -> dict[str, str]:
        """The sources that are not asked any more, by name, and why."""
        return {one.source.name: str(one.problem) for one in self._asked if one.problem is not None}

    async def run(self) -> None:
        """Gather until the harvest is complete.

        Raises Unreachable if no source gives a block, BadSource if every source lied, and BadContent if the
        content is bad.
        """
        for one in self._asked:
            one.opening = asyncio.create_task(self._ready(one))
        try:
            async with asyncio.TaskGroup() as tasks:
                # By turns, so that a few blocks are shared among the sources, too.
                for _ in range(OPEN_REQUESTS):
                    for number in range(len(self._asked)):
                        tasks.create_task(self._work(number))
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            openings = [one.opening for one in self._asked if one.opening is not None]
            for opening in openings:
                opening.cancel()
            await asyncio.gather(*openings, return_exceptions=True)
        if not self._harvest.complete:
            self._give_up()

    async def _ready(self, one: _Asked) -> None:
        try:
            await one.source.open()
        except NodeError as problem:
            self._drop(one, problem)
        finally:
            self._tell()

    async def _work(self, number: int) -> None:
        """Ask one source for one block after the other, for as long as it is worth asking."""
        one = self._asked[number]
        while one.problem is None and not self._harvest.complete:
            if one.opening is not None:
                if not one.opening.done():
                    await self._wait()
                    continue
                one.opening.result()  # what a source did not foresee is a bug, and ends the download with it
            block_id = self._next(number)
            if block_id is None:
                self._check_hope()
                await self._wait()
                continue
            await self._ask(number, one, block_id)
            if one.failures:
                await asyncio.sleep(_FAILURE_PAUSE_S * one.failures)

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN_S):
                await self._news.wait()

    def _next(self, number: int) -> BlockId | None:
        """Return the block to ask this source for: one nobody was asked for, or one that somebody owes."""
        late: BlockId | None = None
        now = asyncio.get_running_loop().time()
        for block_id in self._harvest.wanted:
            if number in self._refused.get(block_id, ()):
                continue
            pending = self._open.get(block_id)
            if pending is None or not pending.requests:
                return block_id
            if late is None and number not in pending.requests and now - pending.since > OVERTAKE_AFTER_S:
                late = block_id
        return late

    async def _ask(self, number: int, one: _Asked, block_id: BlockId) -> None:
        request = asyncio.create_task(one.source.block(block_id))
        pending = self._open.setdefault(block_id, _Open(asyncio.get_running_loop().time()))
        pending.since = asyncio.get_running_loop().time()
        pending.requests[number] = request
        try:
            await asyncio.wait([request])
            if request.cancelled():
                return  # another source was quicker
            await self._answer(number, one, block_id, request)
        finally:
            request.cancel()
            pending.requests.pop(number, None)
            self._tell()

    async def _answer(
        self, number: int, one: _Asked, block_id: BlockId, request: "asyncio.Task[bytes]"
    ) -> None:
        try:
            block = request.result()
            await self._take(number, block_id, block)
        except NotHere as problem:
            one.absent += 1
            self._refused.setdefault(block_id, set()).add(number)
            if one.absent >= MAX_ABSENT:
                self._drop(one, problem)
        except WrongBlock as problem:
            self._drop(one, problem)
        except Unreachable as problem:
            one.failures += 1
            if one.failures >= MAX_FAILURES:
                self._drop(one, problem)
        else:
            one.failures = one.absent = 0

    async def _take(self, number: int, block_id: BlockId, block: bytes) -> None:
        if block_id in self._keeping or block_id not in self._harvest.wanted:
            return
        self._keeping.add(block_id)
        try:
            await asyncio.to_thread(self._harvest.keep, block_id, block)
        finally:
            self._keeping.discard(block_id)
        self._harvest.enter(block_id, block)
        pending = self._open.pop(block_id, None)
        for other, request in pending.requests.items() if pending else ():
            if other != number:
                request.cancel()
        self._on_blocks()

    def _drop(self, one: _Asked, problem: NodeError) -> None:
        if one.problem is None:
            one.problem = problem
            self._on_drop(one.source.name, str(problem))

    def _check_hope(self) -> None:
        """Raise Unreachable if a wanted block is refused by everybody who is still asked."""
        live = {number for number, one in enumerate(self._asked) if one.problem is None}
        for block_id in self._harvest.wanted:
            if live <= self._refused.get(block_id, set()):
                self._give_up(block_id)

    def _give_up(self, block_id: BlockId | None = None) -> None:
        told = "; ".join(f"{name}: {why}" for name, why in self.dropped.items())
        if all(isinstance(one.problem, BadContent) for one in self._asked):
            raise BadSource(told)
        wanted = block_id or next(iter(self._harvest.wanted))
        raise Unreachable(f"no source gives block {wanted}{f' ({told})' if told else ''}")

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what a group of workers ended with: they end together, of one cause."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
