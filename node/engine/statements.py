"""The node's money as it is shown: of one job, of a list of jobs, and of the whole node.

Reads the ledger and changes nothing. Of the sums of the whole node only the newest blocks are folded
again: what lies further back is kept as a sum, while nothing is added or lost there.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from node.job.deal import PaymentDirection, PaymentReason
from node.job.job import Job
from node.journal.ledger_rows import Extent, GasRow, JobFilter, PaymentRecord, Posting
from node.journal.records import JobRow
from node.settlement.claimable import claim_of, claims_of, due_wei
from node.settlement.ledger import Sums, fold, of_gas
from node.types import Address, JobId, Wei

DAY_S = 86_400
PERIODS = {"day_wei": DAY_S, "week_wei": 7 * DAY_S, "month_wei": 30 * DAY_S}
PAY = (PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT)


class MoneyJournal(Protocol):
    """What is read; the journal's ``LedgerJournal``."""

    async def extent(self, until: int | None = None) -> Extent:
        """Return how far the ledger reaches and how much is in it, of blocks up to ``until``."""
        ...

    async def postings(
        self,
        *,
        payee: Address | None = None,
        job_id: JobId | None = None,
        after: int | None = None,
        until: int | None = None,
    ) -> list[Posting]:
        """Return payments with their jobs, oldest first, of blocks above ``after`` up to ``until``."""
        ...

    async def gas(self, *, after: int | None = None, until: int | None = None) -> list[GasRow]:
        """Return what every transaction cost, of blocks above ``after`` to ``until``."""
        ...

    async def gas_of(self, jobs: Iterable[JobId]) -> list[GasRow]:
        """Return what the transactions of these jobs cost."""
        ...

    async def jobs(
        self, chosen: JobFilter, limit: int, before: tuple[int, JobId] | None = None
    ) -> list[JobRow]:
        """Return jobs, newest first."""
        ...

    async def record_of(self, requester: Address) -> PaymentRecord:
        """Return how an account has dealt with us."""
        ...


class Statements:
    """Statements of one account. ``account`` None: only jobs are shown, as nobody knows whose money it is.

    The last ``unsettled_blocks`` are always read anew: as many as a reorganisation may take back. Claims are
    what the deals' terms say; ``silence_has_remedy`` False: without those the market would not pay.
    """

    def __init__(
        self,
        ledger: MoneyJournal,
        account: Address | None,
        unsettled_blocks: int,
        *,
        silence_has_remedy: bool = True,
    ) -> None:
        self._ledger = ledger
        self._account = account
        self._unsettled_blocks = unsettled_blocks
        self._silence_has_remedy = silence_has_remedy
        self._old = _Part(Extent(0, 0, 0))
        self._new = _Part(Extent(0, 0, 0))

    async def jobs(self, chosen: JobFilter, limit: int, before: tuple[int, JobId] | None) -> list[JobRow]:
        """Return the jobs that ``chosen`` describes, newest first."""
        return await self._ledger.jobs(chosen, limit, before)

    async def gas_of(self, jobs: Sequence[JobId]) -> dict[JobId, Wei]:
        """Return what each of these jobs cost in gas so far, reverted transactions included."""
        spent: dict[JobId, Wei] = {}
        for row in await self._ledger.gas_of(jobs):
            if row.job_id is not None:
                spent[row.job_id] = Wei(spent.get(row.job_id, 0) + row.fee_wei)
        return spent

    async def of_job(self, job: Job) -> dict[str, Any]:
        """Return a job's money: each payment of ours, its sums, what it may still give, and with whom."""
        postings = await self._ledger.postings(payee=self._account, job_id=job.job_id)
        gas = await self._ledger.gas_of([job.job_id])
        sums = sum(map(of_gas, gas), Sums())
        if self._account is not None:
            sums = fold(self._account, postings, gas).total
        claim = claim_of(job, silence_has_remedy=self._silence_has_remedy)
        record = await self._ledger.record_of(job.offer.requester)
        return {
            **sums.to_json(),
            "claim": claim.to_json() if claim else None,
            "requester": record.to_json(),
            "payments": [_payment(posting) for posting in postings],
        }

    async def earnings(self, chain_time: int, jobs: Sequence[Job]) -> dict[str, Any]:
        """Return the node's own money, given the open jobs: totals, and what was paid in the last periods.

        ``last_paid_at`` is the block time of the last payment for a job, None before the first.
        """
        await self._refresh()
        total = self._old.total + self._new.total
        earned = self._old.earned + self._new.earned
        claims = claims_of(jobs, silence_has_remedy=self._silence_has_remedy)
        return {
            "paid_wei": str(total.earned_wei),
            **{
                name: str(sum(amount for at, amount in earned if at >= chain_time - seconds))
                for name, seconds in PERIODS.items()
            },
            "locked_wei": str(total.locked_wei),
            "locked_timeout_wei": str(total.locked_timeout_wei),
            "locked_results_wei": str(total.locked_results_wei),
            "claimable_wei": str(due_wei(claims, chain_time)),
            "slashed_wei": str(total.slashed_out_wei),
            "gas_wei": str(total.gas_wei),
            "net_wei": str(total.net_wei),
            "last_paid_at": max((at for at, _ in earned), default=None),
        }

    async def _refresh(self) -> None:
        if self._account is None:
            return
        old = self._old.extent
        now = await self._ledger.extent(old.newest_block)
        if (now.payments, now.transactions) != (old.payments, old.transactions):
            self._old = _Part(Extent(0, 0, 0))
        settled = (await self._ledger.extent()).newest_block - self._unsettled_blocks
        if settled > self._old.extent.newest_block:
            grown = await self._part(self._account, after=self._old.extent.newest_block, until=settled)
            self._old = self._old + grown
        self._new = await self._part(self._account, after=self._old.extent.newest_block, until=None)

    async def _part(self, account: Address, *, after: int, until: int | None) -> "_Part":
        extent = await self._ledger.extent(until)
        postings = await self._ledger.postings(payee=account, after=after, until=until)
        gas = await self._ledger.gas(after=after, until=until)
        # Years of payments take a while to add up, and the event loop has other things to do.
        total = (await asyncio.to_thread(fold, account, postings, gas)).total
        rows = [posting.row for posting in postings]
        earned = tuple((row.at, row.amount_wei) for row in rows if (row.reason, row.direction) == PAY)
        newest = extent.newest_block if until is None else until
        return _Part(Extent(newest, extent.payments, extent.transactions), total, earned)


@dataclass(frozen=True, slots=True)
class _Part:
    """The sums of some blocks, and all that the ledger held up to the last of them when they were made."""

    extent: Extent
    total: Sums = Sums()
    earned: tuple[tuple[int, Wei], ...] = ()

    def __add__(self, later: "_Part") -> "_Part":
        return _Part(later.extent, self.total + later.total, self.earned + later.earned)


def _payment(posting: Posting) -> dict[str, Any]:
    row = posting.row
    return {
        "at": row.at,
        "block_number": row.block_number,
        "tx_hash": row.tx_hash,
        "reason": row.reason.name.lower(),
        "direction": row.direction.name.lower(),
        "amount_wei": str(row.amount_wei),
    }
