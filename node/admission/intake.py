"""The door for offers: what is cheap to know about many offers at once is asked before any becomes a job.

Anybody may post offers in anybody's name for the price of gas. Only the log whose payee sent the transaction
obliges anyone, and only a payee who owns the price can pay it; the rest leaves a count. What remains may
wait, in a bounded number of places. Holds no state: who waits is what the journal says.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from node.admission.places import Places, share_out
from node.admission.pricing import terms_of
from node.admission.rules import forged, insolvent
from node.chain.client import Transaction
from node.chain.reverts import Reverted
from node.chain.rpc import RpcError
from node.job.events import Offer
from node.job.sifting import Left, Refused, Sifted
from node.job.terms import PriceList, StandingTerms, price_wei
from node.types import Address, JobId, TxHash, Wei

TRANSACTIONS_WORTH_A_BLOCK = 4
"""From how many transactions of one block on the whole block is asked for instead of each."""
BALANCES_WORTH_A_CALL = 4
AT_ONCE = 16


class Postings(Protocol):
    """Who sent what; the chain's ``Chain``."""

    async def transaction(self, tx_hash: TxHash) -> Transaction | None:
        """Return a transaction."""
        ...

    async def block_transactions(self, number: int) -> tuple[Transaction, ...]:
        """Return every transaction of a block."""
        ...


class Balances(Protocol):
    """Who owns what of the payment token; the chain's ``MarketContracts``."""

    async def token_balance(self, address: Address) -> Wei:
        """Return the balance."""
        ...

    async def token_balances(self, addresses: Sequence[Address]) -> dict[Address, Wei]:
        """Return many balances; raises RpcError or Reverted where the endpoint cannot."""
        ...


@dataclass(frozen=True, slots=True)
class IntakeTerms:
    """The settings the door goes by, and who we are."""

    places: Places
    standing: StandingTerms
    provider: Address
    own_prices: Mapping[str, PriceList] = field(default_factory=dict)
    deny: frozenset[Address] = frozenset()


class Intake:
    """Sifts offers. ``waiting`` tells which offers are jobs without a verdict now, oldest first."""

    def __init__(
        self,
        chain: Postings,
        token: Balances,
        waiting: Callable[[], Mapping[JobId, Address]],
        terms: IntakeTerms,
    ) -> None:
        self._chain = chain
        self._token = token
        self._waiting = waiting
        self._terms = terms
        self._log = structlog.get_logger()

    async def sift(self, offers: Sequence[Offer]) -> Sifted:
        """Return which offers are left, and which waiting jobs lose their place to the others.

        An offer whose transaction the endpoint does not know yet is not left: its evaluation asks again.
        Raises Unreachable while the chain does not answer; the same offers may then be sifted again.
        """
        if not offers:
            return Sifted()
        left = await self._forged(offers)
        for position, offer in enumerate(offers):
            if position not in left and offer.requester in self._terms.deny:
                left[position] = Left(Refused.DENIED, f"{offer.requester} is on the list admission.deny")
        honest = [position for position in range(len(offers)) if position not in left]
        left |= await self._insolvent(offers, honest)
        solvent_ones = [position for position in honest if position not in left]
        shared = share_out(
            [offers[position] for position in solvent_ones], self._waiting(), self._terms.places
        )
        left |= {solvent_ones[index]: reason for index, reason in shared.left.items()}
        return Sifted(left, shared.displaced)

    async def _forged(self, offers: Sequence[Offer]) -> dict[int, Left]:
        senders = await self._senders(offers)
        left = {}
        for position, offer in enumerate(offers):
            sender = senders.get(offer.tx_hash)
            if sender is None:
                continue
            problem = forged(sender, offer.requester, self._terms.provider)
            if problem is not None:
                left[position] = Left(Refused.FORGED, problem)
        return left

    async def _senders(self, offers: Sequence[Offer]) -> dict[TxHash, Address]:
        by_block: dict[int, set[TxHash]] = {}
        for offer in offers:
            by_block.setdefault(offer.block_number, set()).add(offer.tx_hash)
        senders: dict[TxHash, Address] = {}
        single: list[TxHash] = []
        for number, hashes in by_block.items():
            if len(hashes) < TRANSACTIONS_WORTH_A_BLOCK:
                single += hashes
                continue
            for transaction in await self._chain.block_transactions(number):
                if transaction.hash in hashes:
                    senders[transaction.hash] = transaction.sender
        for first in range(0, len(single), AT_ONCE):
            part = single[first : first + AT_ONCE]
            for transaction_or_none in await asyncio.gather(*map(self._chain.transaction, part)):
                if transaction_or_none is not None:
                    senders[transaction_or_none.hash] = transaction_or_none.sender
        return senders

    async def _insolvent(self, offers: Sequence[Offer], positions: Sequence[int]) -> dict[int, Left]:
        owned = await self._owned(sorted({offers[position].requester for position in positions}))
        standing = self._terms.standing
        left = {}
        for position in positions:
            offer = offers[position]
            prices = terms_of(offer.spec.module, standing, self._terms.own_prices).prices
            price = price_wei(offer.spec, prices)
            needed = Wei(price + standing.timeout_collateral_wei)
            problem = insolvent(owned[offer.requester], needed)
            if problem is not None:
                left[position] = Left(Refused.INSOLVENT, problem)
        return left

    async def _owned(self, requesters: Sequence[Address]) -> dict[Address, Wei]:
        if len(requesters) >= BALANCES_WORTH_A_CALL:
            try:
                return await self._token.token_balances(requesters)
            except (RpcError, Reverted) as problem:
                self._log.info("balances_read_one_by_one", problem=str(problem))
        owned: dict[Address, Wei] = {}
        for first in range(0, len(requesters), AT_ONCE):
            part = requesters[first : first + AT_ONCE]
            owned.update(zip(part, await asyncio.gather(*map(self._token.token_balance, part)), strict=True))
        return owned
