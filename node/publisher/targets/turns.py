"""Who may go to one place at a time.

An attempt can last for hours, as where a service queues a pin: what nobody waits for must not keep out
a result whose job waits to report it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Turns(Generic[Result]):
    """``at_once`` results that are awaited, whatever else is there; others while fewer than that are there.

    ``is_awaited`` is asked again whenever a turn ends, and on ``look_again``.
    """

    def __init__(self, at_once: int, is_awaited: Callable[[Result], bool]) -> None:
        self._at_once = at_once
        self._is_awaited = is_awaited
        self._there: set[Result] = set()
        self._moved = asyncio.Event()

    @asynccontextmanager
    async def turn(self, result: Result) -> AsyncIterator[None]:
        """Wait for this result's turn and keep it while the context lasts."""
        while not self._may_go(result):
            await self._moved.wait()
        self._there.add(result)
        try:
            yield
        finally:
            self._there.discard(result)
            self.look_again()

    def look_again(self) -> None:
        """Let those that wait see whether they may go, because it changed which results are awaited."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _may_go(self, result: Result) -> bool:
        if self._is_awaited(result):
            return sum(map(self._is_awaited, self._there)) < self._at_once
        return len(self._there) < self._at_once
