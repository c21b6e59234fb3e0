"""A bell for whoever waits for the next block: a push only ends a wait early, it never carries a fact."""

import asyncio


class HeadBell:
    """Rung when an endpoint says that there is a new block. Made for one waiter."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """End the present wait, or the next one at once."""
        self._rung.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when the bell rings, at the latest after ``timeout_s``: a push may never come."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        except TimeoutError:
            return
        self._rung.clear()
