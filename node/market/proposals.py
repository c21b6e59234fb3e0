"""Sending a proposal (``agree``) and taking it back (``timeoutAgree``).

Both ask the chain what stands before they call a failure a failure: a lost race is a normal outcome.
"""

from typing import Protocol

from node.chain.client import Block, Call
from node.chain.txmanager import Failed, TxIntent, TxOutcome
from node.errors import Retryable
from node.job.deal import Agreement, AgreementState, Deal
from node.job.effects import Effect
from node.job.events import JobEvent, ProposalRefused
from node.job.job import Job
from node.job.transactions import TxRow
from node.types import DealId


class Deals(Protocol):
    """What a proposal reads and calls; the chain's ``MarketContracts``."""

    async def get_deal(self, deal_id: DealId, at: int | None = None) -> Deal | None:
        """Return the stored terms."""
        ...

    async def get_agreement(self, deal_id: DealId, at: int | None = None) -> Agreement:
        """Return the state and its times."""
        ...

    def agree(self, deal: Deal) -> Call:
        """Return the call that agrees to the deal."""
        ...

    def timeout_agree(self, deal_id: DealId) -> Call:
        """Return the call that takes an unanswered proposal back."""
        ...


class Transactions(Protocol):
    """The chain's ``TxManager``."""

    async def send(self, intent: TxIntent) -> TxOutcome:
        """Return the confirmed outcome; the same intent id is never sent as two transactions."""
        ...


class Intents(Protocol):
    """The journal of transactions."""

    async def row(self, intent_id: str) -> TxRow | None:
        """Return what is known of an intent, None if it never took a nonce."""
        ...


class Heads(Protocol):
    """The chain's clock."""

    async def head(self) -> Block:
        """Return the newest block."""
        ...


class Proposals:
    """Carries out PROPOSE and WITHDRAW."""

    def __init__(self, deals: Deals, transactions: Transactions, intents: Intents, heads: Heads) -> None:
        self._deals = deals
        self._transactions = transactions
        self._intents = intents
        self._heads = heads

    async def propose(self, job: Job, effect: Effect) -> JobEvent | None:
        """Lock our collateral in the deal. None: the confirmed log will tell."""
        if await self._intents.row(effect.effect_id) is None:
            head = await self._heads.head()
            if job.deadline is not None and head.timestamp > job.deadline:
                return ProposalRefused("the offer grew too old before the proposal could be sent")
        outcome = await self._transactions.send(TxIntent(effect.effect_id, self._deals.agree(job.terms)))
        if not isinstance(outcome, Failed):
            return None
        stored = await self._deals.get_deal(job.terms.deal_id)
        if stored == job.terms:
            agreement = await self._deals.get_agreement(job.terms.deal_id)
            if agreement.resource_provider_agreed_at > 0:
                return None
        return ProposalRefused(f"the contract refused the proposal: {outcome.reason}")

    async def withdraw(self, job: Job, effect: Effect) -> JobEvent | None:
        """Free the collateral of a proposal nobody answered. None: the confirmed log will tell."""
        intent = TxIntent(effect.effect_id, self._deals.timeout_agree(job.terms.deal_id))
        outcome = await self._transactions.send(intent)
        if not isinstance(outcome, Failed):
            return None
        agreement = await self._deals.get_agreement(job.terms.deal_id)
        if agreement.state != AgreementState.DEAL_NEGOTIATING:
            return None
        raise Retryable(f"the proposal cannot be taken back yet: {outcome.reason}")
