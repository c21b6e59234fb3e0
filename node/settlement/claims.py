"""Timeout calls that pay us: a requester who never judges, a mediator who never rules."""

from typing import Protocol

from node.chain.client import Call
from node.chain.resending import Transactions, send_while_wanted
from node.chain.rules import DeploymentRules
from node.chain.txmanager import Failed, TxIntent
from node.errors import Retryable
from node.job.deal import Agreement, AgreementState
from node.job.effects import Effect
from node.job.events import ClaimRefused, JobEvent, NoRemedy
from node.job.job import Job
from node.job.phase import Phase
from node.types import DealId

NO_REMEDY = "waiting for counterparty, no on-chain remedy"
MAX_REVERTED_CLAIMS = 3
"""How often a claim may be mined and revert, each at the price of its gas, before it is given up."""


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


class Claims:
    """Carries out CLAIM_JUDGE_TIMEOUT and CLAIM_MEDIATION_TIMEOUT."""

    def __init__(self, timeouts: Timeouts, transactions: Transactions, rules: DeploymentRules) -> None:
        self._rules = rules
        self._timeouts = timeouts
        self._transactions = transactions

    async def claim_judge_timeout(self, job: Job, effect: Effect) -> JobEvent | None:
        """Take the pay of a result nobody judged. None: the confirmed log will tell.

        Nothing is sent where the call is known to revert whatever happened (``lilypad.md`` 3.1, bug 1).
        """
        if job.phase != Phase.CLAIMING:
            return None
        if not self._rules.silence_has_remedy:
            return NoRemedy(NO_REMEDY)
        call = self._timeouts.timeout_judge_result(job.terms.deal_id)
        return await self._claim(job, effect, call, AgreementState.RESULTS_SUBMITTED)

    async def claim_mediation_timeout(self, job: Job, effect: Effect) -> JobEvent | None:
        """Have the next mediator drawn, or the result stand. None: the confirmed log will tell."""
        if job.phase != Phase.CLAIMING or job.draws != effect.attempt:
            # Another mediator was drawn while this claim waited: its time has an order of its own, and a
            # second call now would only revert.
            return None
        call = self._timeouts.timeout_mediate_result(job.terms.deal_id)
        return await self._claim(job, effect, call, AgreementState.RESULTS_CHECKED)

    async def _claim(self, job: Job, effect: Effect, call: Call, waiting: AgreementState) -> JobEvent | None:
        deal_id = job.terms.deal_id

        async def still_owed() -> bool:
            return (await self._timeouts.get_agreement(deal_id)).state == waiting

        intent = TxIntent(effect.effect_id, call)
        sent = await send_while_wanted(self._transactions, intent, still_owed, most=MAX_REVERTED_CLAIMS)
        if not isinstance(sent.outcome, Failed) or not await still_owed():
            return None
        if not sent.reverted:
            # Nothing was sent: too early, no gas money, or a policy. What is owed stays owed.
            raise Retryable(f"the claim has to wait: {sent.outcome.reason}")
        if sent.number < MAX_REVERTED_CLAIMS:
            raise Retryable(f"the contract reverted the claim, which is sent again: {sent.outcome.reason}")
        return ClaimRefused(
            f"the contract reverted the claim {MAX_REVERTED_CLAIMS} times: {sent.outcome.reason}"
        )
