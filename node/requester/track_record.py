"""How providers' deals ended, folded from the market's logs of recent blocks.

Only deals that both sides agreed to and that came to an end are counted: a deal that runs says nothing yet,
and proposals cost their author only gas.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from node.chain.client import Chain
from node.chain.contracts import MarketContracts
from node.chain.events import DEAL_STATE_CHANGE, PAYMENT, DealStateChange, MarketEvent, Payment, decode
from node.chain.logs import ConfirmedLogs, ReorgDetected
from node.errors import Retryable
from node.job.deal import AgreementState, PaymentDirection, PaymentReason
from node.types import Address, DealId

BLOCKS = 50_000
MAX_LOGS = 50_000
TOTAL_S = 5.0
ENDED = frozenset(AgreementState) - {
    AgreementState.DEAL_NEGOTIATING,
    AgreementState.DEAL_AGREED,
    AgreementState.RESULTS_SUBMITTED,
    AgreementState.RESULTS_CHECKED,
    AgreementState.TIMEOUT_AGREE,
}


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """Of ``ended`` agreed deals ``accepted`` were paid for."""

    accepted: int
    ended: int

    @property
    def share(self) -> float:
        """The accepted part, 0 without any."""
        return self.accepted / self.ended if self.ended else 0.0


def fold(events: Iterable[MarketEvent | None]) -> dict[Address, TrackRecord]:
    """Return each provider's record."""
    locked: dict[DealId, set[Address]] = {}
    creators: dict[DealId, Address] = {}
    agreed: set[DealId] = set()
    ended: set[DealId] = set()
    paid: set[DealId] = set()
    for event in events:
        match event:
            case DealStateChange(state=AgreementState.DEAL_AGREED):
                agreed.add(event.deal_id)
            case DealStateChange() if event.state in ENDED:
                ended.add(event.deal_id)
            case Payment(reason=PaymentReason.TIMEOUT_COLLATERAL, direction=PaymentDirection.PAID_IN):
                locked.setdefault(event.deal_id, set()).add(event.payee)
            case Payment(reason=PaymentReason.PAYMENT_COLLATERAL, direction=PaymentDirection.PAID_IN):
                creators[event.deal_id] = event.payee
            case Payment(reason=PaymentReason.JOB_PAYMENT, direction=PaymentDirection.PAID_OUT):
                if event.amount_wei > 0:
                    paid.add(event.deal_id)
            case _:
                pass
    totals: Counter[Address] = Counter()
    accepted: Counter[Address] = Counter()
    for deal_id in agreed & ended:
        for provider in locked.get(deal_id, set()) - {creators.get(deal_id)}:
            totals[provider] += 1
            accepted[provider] += deal_id in paid
    return {provider: TrackRecord(accepted[provider], total) for provider, total in totals.items()}


class TrackRecords:
    """The records as of the first time they are asked for; ``known`` fills when they were read."""

    def __init__(self, chain: Chain, contracts: MarketContracts) -> None:
        self._chain = chain
        self._contracts = contracts
        self._reading: asyncio.Task[dict[Address, TrackRecord]] | None = None
        self.known: dict[Address, TrackRecord] = {}

    def begin(self) -> "asyncio.Task[dict[Address, TrackRecord]]":
        """Begin to read them, if that was not begun yet."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._recent())
        return self._reading

    async def read(self) -> dict[Address, TrackRecord]:
        """Return the providers' records of recent blocks; nothing of them if that would take long."""
        return await self.begin()

    async def _recent(self) -> dict[Address, TrackRecord]:
        addresses = self._contracts.addresses
        events: list[MarketEvent | None] = []
        try:
            async with asyncio.timeout(TOTAL_S):
                head = await self._chain.head()
                logs = ConfirmedLogs(
                    self._chain,
                    [addresses.payments, addresses.storage],
                    [PAYMENT, DEAL_STATE_CHANGE],
                    confirmations=0,
                    cursor=None,
                    start_block=max(0, head.number - BLOCKS),
                )
                caught_up = False
                while not caught_up and len(events) < MAX_LOGS:
                    batch = await logs.next()
                    if batch is None:
                        break
                    events += [decode(log) for log in batch.logs]
                    caught_up = batch.caught_up
        except (TimeoutError, ReorgDetected, Retryable):
            return {}
        self.known.update(fold(events))
        return self.known
