"""Which deals are ours: by the book, and for a proposal that is not mined yet by its terms on chain.

Anybody who foresees a deal's id may create it first with other terms. Until our own collateral is in it, what
happens to a deal of that id is news of ours only if its terms are the ones we sign.
"""

from collections.abc import Callable
from typing import Protocol

from node.chain.contracts import Unreadable
from node.job.deal import Deal
from node.job.job import Job
from node.job.phase import Phase
from node.types import DealId, JobId


class Deals(Protocol):
    """The stored terms; the chain's ``MarketContracts``."""

    async def get_deal(self, deal_id: DealId, at: int | None = None) -> Deal | None:
        """Return the stored terms; raises Unreadable."""
        ...


class OwnDeals:
    """Tells the feed whose a deal is."""

    def __init__(
        self,
        known_deal: Callable[[DealId], JobId | None],
        job: Callable[[JobId], Job | None],
        deals: Deals,
    ) -> None:
        self._known_deal = known_deal
        self._job = job
        self._deals = deals

    async def job_of(self, deal_id: DealId) -> JobId | None:
        """Return our job of a deal, None for a deal that is not ours. Raises Unreachable."""
        job_id = self._known_deal(deal_id)
        job = self._job(job_id) if job_id is not None else None
        if job is None or job.phase is not Phase.PROPOSING:
            return job_id
        try:
            stored = await self._deals.get_deal(deal_id)
        except Unreadable:
            return None
        return job_id if stored == job.deal else None
