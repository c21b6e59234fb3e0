"""Watching that the requester still has in escrow what it owes us, where escrow is one pool per account.

On Lilypad's contracts an account can take its whole escrow out while its deals are open (``lilypad.md``
3.1, bug 3): what it locked for us is then gone, and every later payment reverts. So before a job is rendered,
while it is, before it is published and right before its result goes on chain, the pool must cover all that
the requester owes to our open deals. Contracts that account escrow to the deal need no such watch: nobody can
take out what a deal has locked (``contracts_abi/README.md``), so this is not wired there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import structlog

from node.chain.client import Block
from node.chain.resending import Rows, newest_attempt
from node.clock import Clock
from node.errors import NotYet, Retryable
from node.job.effects import Effect
from node.job.events import EscrowDrained, JobEvent
from node.job.job import Job
from node.job.phase import Phase
from node.types import Address, JobId, Wei

Carrier = Callable[[Job, Effect], Awaitable[JobEvent | None]]
"""What carries out an order of the engine."""

# A hire that is being agreed to is one whose requester has paid in already.
_OWED_TO_US = frozenset(
    {
        Phase.AGREEING,
        Phase.AGREED,
        Phase.RENDERING,
        Phase.PUBLISHING,
        Phase.SUBMITTING,
        Phase.SUBMITTED,
        Phase.DISPUTED,
        Phase.CLAIMING,
    }
)


class Escrows(Protocol):
    """The pool; the chain's ``MarketContracts``."""

    async def pooled_escrow(self, address: Address, at: int | None = None) -> Wei:
        """Return what an account has locked over all its deals."""
        ...


class Heads(Protocol):
    """The chain's clock."""

    async def head(self) -> Block:
        """Return the newest block."""
        ...


class Shelf(Protocol):
    """Where results are published; the ``Publisher``."""

    async def unpin(self, job_id: JobId) -> bool:
        """Let go of a job's result."""
        ...

    async def collect_garbage(self) -> object:
        """Remove every block that no job keeps."""
        ...


def owed_wei(jobs: Iterable[Job], requester: Address) -> Wei:
    """Return what a requester has to have in escrow for our deals: PC + TJ each, PC + F once disputed."""
    total = 0
    for job in jobs:
        if job.phase not in _OWED_TO_US or job.deal is None or job.deal.members.job_creator != requester:
            continue
        deal = job.deal
        # A check gives the requester its collateral back and takes the mediator's fee instead.
        second = deal.pricing.mediation_fee_wei if job.draws else deal.timeouts.judge_results.collateral_wei
        total += deal.pricing.payment_collateral_wei + second
    return Wei(total)


class EscrowWatch:
    """Wraps what carries out orders, so that none goes on for a requester that took its escrow out."""

    def __init__(
        self,
        escrows: Escrows,
        heads: Heads,
        *,
        open_jobs: Callable[[], list[Job]],
        intents: Rows,
        shelf: Shelf,
        clock: Clock,
        every_s: float,
    ) -> None:
        self._escrows = escrows
        self._heads = heads
        self._open_jobs = open_jobs
        self._intents = intents
        self._shelf = shelf
        self._clock = clock
        self._every_s = every_s
        self._log = structlog.get_logger()

    def before(self, carry_out: Carrier) -> Carrier:
        """Return the same, begun only while the escrow covers what is owed.

        An order whose transaction is signed already goes on: it may be mined any moment, and a second one for
        the same deal would only revert.
        """

        async def guarded(job: Job, effect: Effect) -> JobEvent | None:
            row = (await newest_attempt(self._intents, effect.effect_id)).row
            if (row is None or not row.attempts) and (reason := await self._shortfall(job)) is not None:
                return await self._drained(job, reason)
            return await carry_out(job, effect)

        return guarded

    def throughout(self, carry_out: Carrier) -> Carrier:
        """Return the same, looked after every few seconds and cancelled when the escrow is gone."""

        async def guarded(job: Job, effect: Effect) -> JobEvent | None:
            reason = await self._shortfall(job)
            if reason is None:
                working: asyncio.Future[JobEvent | None] = asyncio.ensure_future(carry_out(job, effect))
                try:
                    reason = await self._gone_while(working, job)
                finally:
                    working.cancel()
                    await asyncio.gather(working, return_exceptions=True)
                if reason is None:
                    return working.result()
            return await self._drained(job, reason)

        return guarded

    async def _gone_while(self, working: "asyncio.Future[JobEvent | None]", job: Job) -> str | None:
        """Return why the work has to stop, or None when it ended by itself."""
        while True:
            pause = asyncio.ensure_future(self._clock.sleep(self._every_s))
            waits: set[asyncio.Future[Any]] = {working, pause}
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
            if working.done():
                return None
            try:
                reason = await self._shortfall(job)
            except Retryable as problem:
                # An endpoint that cannot be asked proves nothing; the next look or the last one will tell.
                self._log.debug("escrow_not_read", job_id=job.job_id, problem=str(problem))
                continue
            if reason is not None:
                return reason

    async def _shortfall(self, job: Job) -> str | None:
        """Return what is missing in words, or None. Raises Unreachable, NotYet for an endpoint that lags."""
        requester = job.terms.members.job_creator
        head = await self._heads.head()
        if head.number < job.chain_block:
            raise NotYet("the RPC endpoint has not seen the block yet in which the requester paid in")
        held = await self._escrows.pooled_escrow(requester, at=head.number)
        owed = owed_wei([*(one for one in self._open_jobs() if one.job_id != job.job_id), job], requester)
        if held >= owed:
            return None
        return f"the requester took its escrow out: {held} wei are left of {owed} wei owed to this node"

    async def _drained(self, job: Job, reason: str) -> EscrowDrained:
        self._log.warning(
            "escrow_drained", job_id=job.job_id, requester=job.terms.members.job_creator, reason=reason
        )
        if job.cid is not None:
            # Published but not yet told on chain: nobody shall fetch what nobody can pay any more.
            await self._shelf.unpin(job.job_id)
            await self._shelf.collect_garbage()
        return EscrowDrained(reason)
