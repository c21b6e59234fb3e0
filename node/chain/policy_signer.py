"""A signer that refuses: asks the policy before the key, and remembers what was signed for.

The memory is durable and written before the signature exists, so that no crash and no restart gives a cap
back. One instance per key and journal.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog

from node.chain.policy import (
    HOUR_S,
    Breach,
    Commitment,
    Policy,
    Spent,
    check_caps,
    read_transaction,
    share_of,
)
from node.chain.signer import Key
from node.clock import Clock
from node.job.deal import Agreement, AgreementState, Deal
from node.job.spending import SignedFor
from node.types import Address, DealId, Wei

_OVER = frozenset(AgreementState) - {
    AgreementState.DEAL_NEGOTIATING,
    AgreementState.DEAL_AGREED,
    AgreementState.RESULTS_SUBMITTED,
    AgreementState.RESULTS_CHECKED,
}


class SpendingMemory(Protocol):
    """What the key signed for, on disk when a write returns."""

    async def latest(self) -> float:
        """Return the newest time in the memory, 0 if there is none."""
        ...

    async def deal(self, account: Address, deal_id: DealId) -> SignedFor | None:
        """Return what was signed for a deal and can still take tokens."""
        ...

    async def signed_for(
        self, account: Address, since: float, counterparty: Address | None
    ) -> list[SignedFor]:
        """Return what was signed since then, and what was ever signed with a counterparty and is not over."""
        ...

    async def remember(self, account: Address, data: bytes, entry: SignedFor) -> None:
        """Write down what a nonce is signed for, in the place of what it was signed for before."""
        ...

    async def over(self, account: Address, deal_ids: Iterable[DealId]) -> None:
        """Note that deals have ended: nothing of ours is locked in them."""
        ...


class Deals(Protocol):
    """The market's own word about a deal; the chain's ``MarketContracts``."""

    async def get_deal(self, deal_id: DealId, at: int | None = None) -> Deal | None:
        """Return the stored terms."""
        ...

    async def get_agreement(self, deal_id: DealId, at: int | None = None) -> Agreement:
        """Return the state and its times."""
        ...


class PolicySigner:
    """Signs what the policy allows with the signer it wraps, and nothing else."""

    def __init__(
        self, inner: Key, policy: Policy, *, memory: SpendingMemory, deals: Deals, clock: Clock
    ) -> None:
        self._inner = inner
        self._policy = policy
        self._memory = memory
        self._deals = deals
        self._clock = clock
        self._began_at: float | None = None
        # From reading what was spent until it is written down: two signatures must not share what is left.
        self._deciding = asyncio.Lock()
        self._log = structlog.get_logger()

    @property
    def address(self) -> Address:
        """The account, in lower case."""
        return self._inner.address

    async def sign(self, tx: dict[str, Any]) -> bytes:
        """Return the raw signed bytes.

        Raises RefusedByPolicy with the rule, the amount and the cap; Retryable if the wrapped signer, or the
        chain when a deal has to be looked up, cannot be asked now.
        """
        try:
            wanted = read_transaction(self._policy, tx)
            async with self._deciding:
                await self._decide(wanted, int(tx["nonce"]), bytes(tx["data"]))
        except Breach as breach:
            self._log.warning("signature_refused", rule=breach.rule, problem=str(breach))
            raise
        return await self._inner.sign(tx)

    async def sign_message(self, message: bytes) -> bytes:
        """Return the EIP-191 signature; its prefix keeps a message from ever being a transaction."""
        return await self._inner.sign_message(message)

    def __repr__(self) -> str:
        return f"PolicySigner({self._inner!r})"

    async def _decide(self, wanted: Commitment, nonce: int, data: bytes) -> None:
        account, now = self._policy.account, await self._now()
        wanted = await self._with_terms(wanted, nonce)
        found = await self._memory.signed_for(account, now - HOUR_S, wanted.counterparty)
        others = [entry for entry in found if entry.nonce != nonce]
        try:
            check_caps(self._policy, wanted, _spent(others, wanted, now))
        except Breach as breach:
            if breach.rule != "max_per_counterparty":
                raise
            ended = await self._ended(others, wanted)
            await self._memory.over(account, ended)
            still = [replace(entry, over=entry.over or entry.deal_id in ended) for entry in others]
            check_caps(self._policy, wanted, _spent(still, wanted, now))
        entry = SignedFor(
            nonce=nonce,
            at=now,
            what=wanted.what,
            deal_id=wanted.deal_id,
            counterparty=wanted.counterparty,
            tokens_wei=wanted.tokens_wei,
            gas_wei=wanted.gas_wei,
        )
        await self._memory.remember(account, data, entry)

    async def _with_terms(self, wanted: Commitment, nonce: int) -> Commitment:
        """Return the commitment with what the deal takes, unless that was counted when we agreed to it."""
        if not wanted.needs_terms or wanted.deal_id is None:
            return wanted
        known = await self._memory.deal(self._policy.account, wanted.deal_id)
        if known is not None and known.nonce != nonce:
            return wanted
        # Agreed under a journal that kept no memory, or by another one: the market knows the terms.
        deal = await self._deals.get_deal(wanted.deal_id)
        if deal is None:
            raise Breach("deal", f"{wanted.what}, and the market knows no such deal")
        counterparty, takes = share_of(self._policy, deal)
        return replace(wanted, counterparty=counterparty, tokens_wei=takes)

    async def _ended(self, entries: Iterable[SignedFor], wanted: Commitment) -> set[DealId]:
        """Return the deals with the same counterparty that the market says are over."""
        asked = {
            entry.deal_id
            for entry in entries
            if entry.deal_id is not None and entry.counterparty == wanted.counterparty and not entry.over
        }
        return {deal_id for deal_id in asked if (await self._deals.get_agreement(deal_id)).state in _OVER}

    async def _now(self) -> float:
        # Wall time only says where to begin, and never before what is remembered: a clock that is set back
        # or forward while the node runs, or back while it does not, leaves the hour's sum as it was.
        if self._began_at is None:
            newest = await self._memory.latest()
            self._began_at = max(self._clock.now(), newest) - self._clock.monotonic()
        return self._began_at + self._clock.monotonic()


@dataclass(slots=True)
class _Sum:
    """A sum over deals in which each counts once, however often it was signed for."""

    by_deal: dict[DealId, int]

    def add(self, entry: SignedFor) -> None:
        if entry.deal_id is not None:
            self.by_deal[entry.deal_id] = max(self.by_deal.get(entry.deal_id, 0), entry.tokens_wei)

    def total(self, without: DealId | None) -> Wei:
        return Wei(sum(amount for deal_id, amount in self.by_deal.items() if deal_id != without))


def _spent(entries: Iterable[SignedFor], wanted: Commitment, now: float) -> Spent:
    hour, counterparty, gas = _Sum({}), _Sum({}), 0
    for entry in entries:
        recent = entry.at > now - HOUR_S
        if recent:
            gas += entry.gas_wei
        if entry.failed:
            continue
        if recent:
            hour.add(entry)
        if entry.counterparty == wanted.counterparty and not entry.over:
            counterparty.add(entry)
    return Spent(hour.total(wanted.deal_id), Wei(gas), counterparty.total(wanted.deal_id))
