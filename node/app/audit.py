"""Does the ledger say what the chain says? Every ``Payment`` log is read again and compared with its row."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from node.chain.client import Chain, RawLog
from node.chain.contracts import MarketContracts
from node.chain.events import PAYMENT, Payment, decode
from node.chain.logs import ConfirmedLogs, ReorgDetected
from node.errors import NodeError, Retryable
from node.journal.ledger import LedgerJournal
from node.journal.records import LedgerRow
from node.market.feed import ledger_row
from node.settlement.ledger import Difference, Sums, differences, of_payment
from node.types import Address, BlockNumber, DealId


@dataclass(frozen=True, slots=True)
class Audit:
    """What the comparison found, over blocks ``first`` to ``last``.

    ``unknown``: deals that name this account as their provider and that the journal does not know.
    """

    first: int
    last: int
    payments: int
    ledger: Sums
    chain: Sums
    differences: tuple[Difference, ...]
    unknown: tuple[DealId, ...]

    @property
    def equal(self) -> bool:
        """True if nothing has to be looked at."""
        return not self.differences and not self.unknown

    def to_json(self) -> dict[str, object]:
        """Return the audit for programs."""
        return {
            "equal": self.equal,
            "first_block": self.first,
            "last_block": self.last,
            "payments": self.payments,
            "ledger": self.ledger.to_json(),
            "chain": self.chain.to_json(),
            "differences": [difference.to_json() for difference in self.differences],
            "unknown_deals": list(self.unknown),
        }


async def audit(
    chain: Chain, contracts: MarketContracts, ledger: LedgerJournal, account: Address
) -> Audit | None:
    """Compare ledger and chain up to the journal's cursor; None while the journal has no deal.

    Raises Unreachable while the endpoint does not answer, Retryable while it is behind the journal or the
    chain changes under it, RpcError if it does not keep these logs.
    """
    blocks = await ledger.read_blocks()
    if blocks is None:
        return None
    first, last = blocks
    rows = await ledger.payments(first, last)
    deals = await ledger.deals()
    known = deals.keys() | {row.deal_id for row in rows}
    reader = _Reader(chain, contracts.addresses.payments)
    found: list[LedgerRow] = []
    strangers: set[DealId] = set()
    async for raw in reader.logs(first, last):
        log = decode(raw)
        if not isinstance(log, Payment):
            continue
        if log.deal_id in known:
            found.append(await reader.row(raw, log))
        elif log.payee == account:
            strangers.add(log.deal_id)
    return Audit(
        first=first,
        last=last,
        payments=len(found),
        ledger=_sums(account, rows),
        chain=_sums(account, found),
        differences=differences(rows, found),
        unknown=tuple([deal for deal in sorted(strangers) if await _provides(contracts, deal, account)]),
    )


def _sums(account: Address, rows: list[LedgerRow]) -> Sums:
    return sum((of_payment(row) for row in rows if row.payee == account), Sums())


async def _provides(contracts: MarketContracts, deal_id: DealId, account: Address) -> bool:
    try:
        deal = await contracts.get_deal(deal_id)
    except Retryable:
        raise
    except NodeError:
        # Not readable, but it moved money of this account: better named than passed over.
        return True
    return deal is None or deal.members.resource_provider == account


class _Reader:
    """Logs, and the times of their blocks."""

    def __init__(self, chain: Chain, payments: Address) -> None:
        self._chain = chain
        self._payments = payments
        self._times: dict[BlockNumber, int] = {}

    async def logs(self, first: int, last: int) -> AsyncIterator[RawLog]:
        reader = ConfirmedLogs(
            self._chain,
            (self._payments,),
            (PAYMENT,),
            confirmations=0,
            cursor=None,
            start_block=first,
            end_block=last,
        )
        read_up_to = first - 1
        while read_up_to < last:
            try:
                batch = await reader.next()
            except ReorgDetected as reorg:
                raise Retryable(f"{reorg}: run the audit again") from reorg
            if batch is None:
                raise Retryable(
                    f"the endpoint does not have all blocks up to {last} yet, or they changed while they "
                    "were read: run the audit again"
                )
            for log in batch.logs:
                yield log
            read_up_to = batch.last.number

    async def row(self, raw: RawLog, log: Payment) -> LedgerRow:
        if raw.block_number not in self._times:
            block = await self._chain.block(raw.block_number)
            if block is None or block.hash != raw.block_hash:
                raise Retryable(f"block {raw.block_number} changed while it was read: run the audit again")
            self._times[raw.block_number] = block.timestamp
        return ledger_row(log, self._times[raw.block_number])
