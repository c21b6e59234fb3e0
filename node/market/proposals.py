"""Agreeing to a deal, as a proposal or as a hire (``agree``), and taking a proposal back (``timeoutAgree``).

Both ask the chain what stands before they call a failure a failure: a lost race is a normal outcome.
"""

from typing import Protocol

from node.chain.client import Block, Call
from node.chain.resending import Rows, Transactions, send_while_wanted
from node.chain.reverts import PASSING, meaning_of, told
from node.chain.txmanager import Failed, TxIntent
from node.errors import Retryable
from node.job.deal import Agreement, AgreementState, Deal
from node.job.effects import Effect
from node.job.events import DealIdTaken, JobEvent, ProposalRefused
from node.job.job import Job
from node.job.rewind import GONE
from node.types import DealId

MAX_REVERTED_AGREEMENTS = 2
"""How often an agreement may be mined and revert, each at the price of its gas, before it is given up."""


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


class Heads(Protocol):
    """The chain's clock."""

    async def head(self) -> Block:
        """Return the newest block."""
        ...


class Proposals:
    """Carries out PROPOSE, AGREE and WITHDRAW."""

    def __init__(self, deals: Deals, transactions: Transactions, intents: Rows, heads: Heads) -> None:
        self._deals = deals
        self._transactions = transactions
        self._intents = intents
        self._heads = heads

    async def agree(self, job: Job, effect: Effect) -> JobEvent | None:
        """Lock our collateral in the deal, as the first party or after its requester.

        None: the confirmed log will tell. Raises Retryable while something that can be put right hinders.
        """
        if await self._intents.row(effect.effect_id) is None:
            if job.orphaned:
                return ProposalRefused(GONE)
            if await self._too_late(job):
                return ProposalRefused("the time to agree passed before this node could: nothing is locked")
        # A reorganisation can turn the two agreements round: the first needs more gas, or it reverts.
        most = MAX_REVERTED_AGREEMENTS + job.rewinds

        async def still_wanted() -> bool:
            agreement = await self._deals.get_agreement(job.terms.deal_id)
            open_to_us = agreement.state is AgreementState.DEAL_NEGOTIATING
            missing = agreement.resource_provider_agreed_at == 0
            return open_to_us and missing and not job.orphaned and not await self._too_late(job)

        intent = TxIntent(effect.effect_id, self._deals.agree(job.terms))
        sent = await send_while_wanted(self._transactions, intent, still_wanted, most=most)
        outcome = sent.outcome
        if not isinstance(outcome, Failed):
            return None
        stored = await self._deals.get_deal(job.terms.deal_id)
        if stored is not None and stored != job.terms and not job.hired:
            return DealIdTaken(f"somebody created {job.terms.deal_id} with other terms: {outcome.reason}")
        if stored == job.terms:
            agreement = await self._deals.get_agreement(job.terms.deal_id)
            if agreement.state is AgreementState.TIMEOUT_AGREE:
                return None
            if agreement.resource_provider_agreed_at > 0:
                if await self._intents.row(effect.effect_id) is not None:
                    return None
                # No log will tell: the agreement is older than this journal, which would wait for ever.
                return ProposalRefused(
                    "this key agreed to the deal before, but not out of this data directory"
                )
        if outcome.tx_hash is None and meaning_of(outcome.reason) in PASSING:
            raise Retryable(f"the agreement has to wait: {told(outcome.reason)}")
        if outcome.by_policy:
            return ProposalRefused(outcome.reason)
        if sent.reverted and sent.number < most and await still_wanted():
            raise Retryable(f"the agreement was mined and reverted: {told(outcome.reason)}")
        return ProposalRefused(f"the contract refused our agreement: {outcome.reason}")

    async def _too_late(self, job: Job) -> bool:
        head = await self._heads.head()
        return job.deadline is not None and head.timestamp > job.deadline

    async def withdraw(self, job: Job, effect: Effect) -> JobEvent | None:
        """Free the collateral of a proposal nobody answered. None: the confirmed log will tell.

        Never given up while our collateral is in there: a call that was mined and reverted is followed by
        another one, however often, at the pace at which this order is retried.
        """
        deal_id = job.terms.deal_id

        async def still_locked() -> bool:
            return (await self._deals.get_agreement(deal_id)).state == AgreementState.DEAL_NEGOTIATING

        intent = TxIntent(effect.effect_id, self._deals.timeout_agree(deal_id))
        sent = await send_while_wanted(self._transactions, intent, still_locked)
        if not isinstance(sent.outcome, Failed) or not await still_locked():
            return None
        raise Retryable(f"the proposal cannot be taken back yet: {told(sent.outcome.reason)}")
