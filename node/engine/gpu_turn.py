"""What a shut GPU means for orders: nothing new is agreed to, and what is agreed waits within its deadline.

A deal is a promise of GPU time, so the proposal or agreement that makes one is not signed while no GPU may be
used. A job that is agreed already waits for one, says so, and fails honestly while there is still time to.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from node.chain.client import Block
from node.chain.resending import Rows
from node.clock import Clock
from node.errors import JobFailed, NotYet
from node.job.effects import Effect
from node.job.events import JobEvent
from node.job.job import Job
from node.types import JobId

Carrier = Callable[[Job, Effect], Awaitable[JobEvent | None]]
"""What carries out an order of the engine."""

LARGEST_SHARE = 2
"""However long a job is expected to take, a GPU is waited for during this part of the deal's time."""


class GpuGate(Protocol):
    """Whether GPUs may be used now; ``GpuRoom``."""

    def claim_obstacle(self, job_id: JobId | None = None) -> str | None:
        """Return why no deal may be made, or not for this job, in words; None if one may."""
        ...

    def start_obstacle(self) -> str | None:
        """Return why no agreed job can begin, in words; None if one can."""
        ...


class Heads(Protocol):
    """The chain's clock."""

    async def head(self) -> Block:
        """Return the newest block."""
        ...


class GpuTurn:
    """Wraps what carries out orders.

    ``needs_s``: how long a job is expected to take from its first stage to its result on chain, in seconds.
    ``begun``: whether a job has a worker, or is rendered already: then no GPU is waited for.
    """

    def __init__(
        self,
        gate: GpuGate,
        heads: Heads,
        intents: Rows,
        *,
        needs_s: Callable[[Job], float],
        begun: Callable[[Job], bool],
        on_wait: Callable[[JobId, str], None],
        clock: Clock,
        every_s: float,
    ) -> None:
        self._gate = gate
        self._heads = heads
        self._intents = intents
        self._needs_s = needs_s
        self._begun = begun
        self._on_wait = on_wait
        self._clock = clock
        self._every_s = every_s

    def claiming(self, carry_out: Carrier) -> Carrier:
        """Return the same, not begun while no GPU may be used.

        What has a nonce already goes on, and what is too late is ended by ``carry_out`` itself.
        """

        async def guarded(job: Job, effect: Effect) -> JobEvent | None:
            if (
                await self._intents.row(effect.effect_id) is None
                and (obstacle := self._gate.claim_obstacle(job.job_id)) is not None
                and not await self._past(job.deadline)
            ):
                raise NotYet(f"the GPU cannot be promised now: {obstacle}")
            return await carry_out(job, effect)

        return guarded

    def starting(self, carry_out: Carrier) -> Carrier:
        """Return the same, begun when a GPU may be used; the queue before the GPUs is watched as well.

        Raises JobFailed when so little time is left that the job, not begun yet, would not end in it.
        """

        async def guarded(job: Job, effect: Effect) -> JobEvent | None:
            while await self._waits(job):
                await self._clock.sleep(self._every_s)
            working: asyncio.Future[JobEvent | None] = asyncio.ensure_future(carry_out(job, effect))
            try:
                while not working.done():
                    await self._waits(job)
                    await self._pause(working)
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
            return working.result()

        return guarded

    async def _waits(self, job: Job) -> bool:
        """Tell why a job that has not begun waits for a GPU; False if it does not wait. Raises JobFailed."""
        obstacle = self._gate.start_obstacle()
        if obstacle is None or self._begun(job):
            return False
        if await self._past(self._last_moment(job)):
            raise JobFailed(f"no GPU could be used in time: {obstacle}")
        self._on_wait(job.job_id, f"waits for the GPU: {obstacle}")
        return True

    async def _pause(self, working: "asyncio.Future[JobEvent | None]") -> None:
        pause = asyncio.ensure_future(self._clock.sleep(self._every_s))
        waits: set[asyncio.Future[Any]] = {working, pause}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()

    def _last_moment(self, job: Job) -> float | None:
        if job.deadline is None:
            return None
        allowed_s = job.terms.timeouts.submit_results.timeout_s
        return job.deadline - min(self._needs_s(job), allowed_s / LARGEST_SHARE)

    async def _past(self, moment: float | None) -> bool:
        return moment is not None and (await self._heads.head()).timestamp > moment
