"""Direct hires: deals that name this node and that their job creator agreed to first; how one is recognised.

A deal is a stranger's claim until its id is recomputed, its job is known and its job creator is who posted
the job. Whether its terms are ours and its money is in escrow is for admission. Protocol: lilypad.md 4.3.
"""

import re
from collections.abc import Mapping
from typing import Protocol

from node.chain.contracts import Unreadable
from node.chain.events import DealStateChange, Payment
from node.errors import Retryable
from node.job.deal import Agreement, AgreementState, Deal, MarketPlace
from node.job.events import HireSeen, Offer
from node.job.terms import binds
from node.types import Address, DealId

_OUR_FORM = re.compile(r"j([1-9][0-9]{0,17})-[1-9A-HJ-NP-Za-km-z]{1,22}")


class Deals(Protocol):
    """What is read of a hire; the chain's ``MarketContracts``."""

    async def get_deal(self, deal_id: DealId, at: int | None = None) -> Deal | None:
        """Return the stored terms."""
        ...

    async def get_agreement(self, deal_id: DealId, at: int | None = None) -> Agreement:
        """Return the state and its times."""
        ...


class Posted(Protocol):
    """The jobs that were posted; ``PostedJobs``."""

    async def offer(self, number: int) -> Offer | str:
        """Return the offer of a job, or why there is none."""
        ...

    async def hired_in(self, number: int) -> DealId | None:
        """Return the deal by which this node was hired for a job before."""
        ...


class DirectHires:
    """Reads the deal behind a payment collateral. ``max_age_s``: older ones are past our time to agree."""

    def __init__(
        self, deals: Deals, posted: Posted, *, provider: Address, market: MarketPlace, max_age_s: int
    ) -> None:
        self._deals = deals
        self._posted = posted
        self._provider = provider
        self._market = market
        self._max_age_s = max_age_s

    async def read(
        self, log: Payment | DealStateChange, at: int, *, age_s: int, just_seen: Mapping[int, Offer]
    ) -> HireSeen | str | None:
        """Return the hire, why it is none that can be taken, or None for a deal of others.

        ``log`` is its job creator's payment, or what became of a deal that was known before.
        ``just_seen`` holds the offers of this batch, which are not journaled yet. Raises Unreachable, and
        Retryable while the endpoint is behind its own logs.
        """
        # Nearly every deal on a busy market is somebody else's: the log alone tells most of them apart.
        if age_s > self._max_age_s or _OUR_FORM.fullmatch(log.deal_id) is None:
            return None
        try:
            deal = await self._deals.get_deal(log.deal_id)
        except Unreadable:
            return None  # nothing that this node could ever agree to
        if deal is None:
            raise Retryable(f"deal {log.deal_id} is not there yet: the endpoint is behind its own logs")
        if deal.members.resource_provider != self._provider:
            return None
        number = int(log.deal_id[1:].partition("-")[0])
        reason = await self._objection(deal, log, number)
        if reason is not None:
            return reason
        offer = just_seen.get(number) or await self._posted.offer(number)
        if isinstance(offer, str):
            return f"deal {deal.deal_id} hires this node, but job j{number} {offer}"
        if offer.requester != deal.members.job_creator:
            return f"deal {deal.deal_id} hires this node for somebody else's job"
        return HireSeen(offer, deal, at, log.ref.block_number)

    async def _objection(self, deal: Deal, log: Payment | DealStateChange, number: int) -> str | None:
        if not binds(deal, self._market, number):
            return f"the id of deal {deal.deal_id} does not follow from job j{number} and its terms"
        if isinstance(log, Payment) and deal.members.job_creator != log.payee:
            return f"deal {deal.deal_id} was paid into by somebody else than its job creator"
        earlier = await self._posted.hired_in(number)
        if earlier not in {None, deal.deal_id}:
            return f"deal {deal.deal_id} hires this node for job j{number}, which deal {earlier} did before"
        agreement = await self._deals.get_agreement(deal.deal_id)
        if agreement.state is AgreementState.TIMEOUT_AGREE:
            return f"deal {deal.deal_id} was taken back before this node saw it"
        if earlier is None and agreement.resource_provider_agreed_at:
            # A proposal of this journal is known by its deal, a hire by its job: this is neither.
            return f"deal {deal.deal_id} was agreed to with this key, but not out of this data directory"
        return None
