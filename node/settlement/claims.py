"""Timeout calls that pay us: a requester who never judges, a mediator who never rules."""

from typing import Protocol

from node.chain.client import Call
from node.chain.txmanager import Failed, TxIntent, TxOutcome
from node.errors import Retryable
from node.job.deal import Agreement, AgreementState
from node.job.effects import Effect
from node.job.events import ClaimRefused, JobEvent
from node.job.job import Job
from node.types import DealId

TOO_EARLY = "Not timed out"


class Timeouts(Protocol):
    """What a claim reads and calls; the chain's ``MarketContracts``."""

    async def get_agreement(self, deal_id: DealId, at: int | None = None) -> Agreement:
        """Return the state and its times."""
        ...

    def timeout_judge_result(self, deal_id: DealId) -> Call:
        """Return the call for a requester who neither accepted nor challenged."""
        ...

    def timeout_mediate_result(self, deal_id: DealId) -> Call:
        """Return the call for a mediator who did not rule."""
        ...


class Transactions(Protocol):
    """The chain's ``TxManager``."""

    async def send(self, intent: TxIntent) -> TxOutcome:
        """Return the confirmed outcome; the same intent id is never sent as two transactions."""
        ...


class Claims:
    """Carries out CLAIM_JUDGE_TIMEOUT and CLAIM_MEDIATION_TIMEOUT."""

    def __init__(self, timeouts: Timeouts, transactions: Transactions) -> None:
        self._timeouts = timeouts
        self._transactions = transactions

    async def claim_judge_timeout(self, job: Job, effect: Effect) -> JobEvent | None:
        """Take the pay of a result nobody judged. None: the confirmed log will tell."""
        call = self._timeouts.timeout_judge_result(job.terms.deal_id)
        return await self._claim(job, effect, call, AgreementState.RESULTS_SUBMITTED)

    async def claim_mediation_timeout(self, job: Job, effect: Effect) -> JobEvent | None:
        """Have the next mediator drawn, or the result stand. None: the confirmed log will tell."""
        call = self._timeouts.timeout_mediate_result(job.terms.deal_id)
        return await self._claim(job, effect, call, AgreementState.RESULTS_CHECKED)

    async def _claim(self, job: Job, effect: Effect, call: Call, waiting: AgreementState) -> JobEvent | None:
        outcome = await self._transactions.send(TxIntent(effect.effect_id, call))
        if not isinstance(outcome, Failed):
            return None
        agreement = await self._timeouts.get_agreement(job.terms.deal_id)
        if agreement.state != waiting:
            return None
        if TOO_EARLY in outcome.reason and outcome.tx_hash is None:
            raise Retryable(f"{job.job_id}: chain time is not there yet")
        return ClaimRefused(f"the contract refused the claim: {outcome.reason}")
