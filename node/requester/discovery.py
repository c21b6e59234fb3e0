"""Finding the proposals for our job on the chain: Payment logs first, then the deal itself.

Every provider that agrees to a deal first emits one ``Payment`` (timeout collateral, paid in), whatever its
amount. Logs are hints; what counts is what the deal, its agreement and its id say (``proposals``).
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from node.chain.client import Chain
from node.chain.contracts import MarketContracts, Unreadable
from node.chain.events import PAYMENT, Payment, decode
from node.chain.logs import ConfirmedLogs, ReorgDetected
from node.job.deal import Deal, PaymentDirection, PaymentReason
from node.requester.collecting import NotDownloadable
from node.requester.proposals import Limits, Proposal, Request, cheapest, names_job, objections
from node.requester.steps import OnStep, ProposalIgnored, ProposalSeen, printable
from node.requester.track_record import TrackRecord
from node.types import Address, DealId

MAX_PROPOSALS = 256
"""More deals than this for one job are not looked at; each one costs its author gas, and us two calls."""


class ProposalWatch:
    """Collects the deals that providers propose for one job."""

    def __init__(
        self,
        *,
        chain: Chain,
        contracts: MarketContracts,
        request: Request,
        limits: Limits,
        from_block: int,
        confirmations: int,
        gateway_of: Callable[[Deal], Awaitable[str]],
        track_records: Mapping[Address, TrackRecord],
        on_step: OnStep,
    ) -> None:
        self._chain = chain
        self._contracts = contracts
        self._request = request
        self._limits = limits
        self._from_block = from_block
        self._confirmations = confirmations
        self._gateway_of = gateway_of
        self._track_records = track_records
        self._on_step = on_step
        self._logs = self._reader()
        self._seen: set[DealId] = set()
        self._pending: deque[Payment] = deque()
        self._good: dict[DealId, Proposal] = {}
        self.ignored: list[ProposalIgnored] = []

    async def poll(self) -> None:
        """Read the logs that are new since the last time and judge every deal they name."""
        try:
            batch = await self._logs.next()
        except ReorgDetected:
            # Proposals of the dropped blocks may be gone or may be back in others: look at all of it again.
            self._logs = self._reader()
            self._seen.clear()
            self._pending.clear()
            self._good.clear()
            return
        if batch is not None:
            for log in batch.logs:
                event = decode(log)
                if isinstance(event, Payment) and self._is_new_proposal(event):
                    self._seen.add(event.deal_id)
                    self._pending.append(event)
        # A proposal leaves the queue only when it was judged: the reading may fail half way.
        while self._pending:
            await self._judge(self._pending[0])
            self._pending.popleft()

    async def best(self) -> Proposal | None:
        """Return the cheapest proposal that is still open at the newest block."""
        while (proposal := cheapest(self._good.values())) is not None:
            deal_id = proposal.deal.deal_id
            agreement = await self._contracts.get_agreement(deal_id)
            head = await self._chain.head()
            reasons = objections(proposal.deal, agreement, self._request, self._limits, head.timestamp)
            if not reasons:
                return proposal
            self.discard(proposal, "; ".join(reasons))
        return None

    def discard(self, proposal: Proposal, reason: str) -> None:
        """Drop a proposal that cannot be agreed to after all."""
        self._good.pop(proposal.deal.deal_id, None)
        self._ignore(proposal.deal.deal_id, proposal.deal.members.resource_provider, reason)

    @property
    def count(self) -> int:
        """How many proposals could be taken."""
        return len(self._good)

    @property
    def providers(self) -> set[Address]:
        """Whose proposals could be taken."""
        return {proposal.deal.members.resource_provider for proposal in self._good.values()}

    def _reader(self) -> ConfirmedLogs:
        return ConfirmedLogs(
            self._chain,
            [self._contracts.addresses.payments],
            [PAYMENT],
            confirmations=self._confirmations,
            cursor=None,
            start_block=self._from_block,
        )

    def _is_new_proposal(self, event: Payment) -> bool:
        return (
            event.reason is PaymentReason.TIMEOUT_COLLATERAL
            and event.direction is PaymentDirection.PAID_IN
            and event.payee != self._request.job_creator
            and event.deal_id not in self._seen
            and len(self._seen) < MAX_PROPOSALS
            and names_job(event.deal_id, self._request.job_number)
        )

    async def _judge(self, event: Payment) -> None:
        try:
            deal = await self._contracts.get_deal(event.deal_id)
        except Unreadable as error:
            self._ignore(event.deal_id, event.payee, str(error))
            return
        if deal is None:
            return
        agreement = await self._contracts.get_agreement(event.deal_id)
        head = await self._chain.head()
        proposal = Proposal(deal, (event.ref.block_number, event.ref.log_index))
        reasons = objections(deal, agreement, self._request, self._limits, head.timestamp)
        if not reasons:
            # A result that cannot be fetched would leave our money in escrow for nothing.
            try:
                await self._gateway_of(deal)
            except NotDownloadable as error:
                reasons.append(str(error))
        if reasons:
            self._ignore(event.deal_id, event.payee, "; ".join(reasons))
            return
        self._good[event.deal_id] = proposal
        provider = deal.members.resource_provider
        record = self._track_records.get(provider)
        self._on_step(ProposalSeen(event.deal_id, provider, proposal.price_wei, proposal.locked_wei, record))

    def _ignore(self, deal_id: DealId, provider: Address, reason: str) -> None:
        step = ProposalIgnored(DealId(printable(deal_id, 64)), provider, printable(reason))
        self.ignored.append(step)
        self._on_step(step)
