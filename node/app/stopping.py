"""The end of a run: nothing new is taken, and the stage that each worker computes may end."""

import asyncio

from node.worker.pool import WorkerPool


async def let_stages_end(pool: WorkerPool, limit_s: float, at_once: asyncio.Event) -> None:
    """Wait until each job in flight has ended a stage, ``limit_s`` at most, or ``at_once`` is set."""
    waits = [asyncio.create_task(pool.let_stages_end(limit_s)), asyncio.create_task(at_once.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
