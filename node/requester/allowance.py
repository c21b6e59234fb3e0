"""Letting the market draw what a step of a run locks: only while the allowance is too small for it.

An allowance is used up by what it was given for, or replaced by another one, so that giving it once is no
proof that it is there: each time it is short another transaction gives it.
"""

from node.chain.contracts import MarketContracts
from node.chain.resending import SETTLED, Transactions, send_while_wanted
from node.chain.txmanager import Failed, TxIntent
from node.requester.patience import Patience
from node.requester.steps import printable
from node.types import Address, Wei


class Allowances:
    """What the market's payments contract may draw from one account. Amounts in wei of the payment token."""

    def __init__(
        self, *, address: Address, contracts: MarketContracts, transactions: Transactions, patience: Patience
    ) -> None:
        self._address = address
        self._contracts = contracts
        self._transactions = transactions
        self._patience = patience

    async def give(self, intent_id: str, needed_wei: Wei) -> str | None:
        """See to it that ``needed_wei`` may be drawn; returns why it could not be allowed, or None."""
        payments = self._contracts.addresses.payments

        async def short() -> bool:
            allowed_wei = await self._patience.ask(
                lambda: self._contracts.token_allowance(self._address, payments)
            )
            return allowed_wei < needed_wei

        if not self._contracts.rules.needs_allowance or not await short():
            return None
        intent = TxIntent(intent_id, self._contracts.approve(payments, needed_wei))
        sent = await send_while_wanted(self._transactions, intent, short, over=SETTLED)
        return printable(sent.outcome.reason) if isinstance(sent.outcome, Failed) else None
