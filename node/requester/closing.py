"""How a deal ends for the job creator: verified and accepted, failed honestly, refunded, or refused.

Accepts only what was downloaded and verified. Everything it cannot accept stays on disk with the reason and
the next step, because the money is still in escrow and a person may want to decide.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from node.chain.client import Chain
from node.chain.contracts import MarketContracts, Unreadable
from node.chain.events import PAYMENT, Payment, decode
from node.chain.txmanager import Mined, TxIntent
from node.errors import NodeError, Retryable
from node.job.deal import AgreementState, Deal, PaymentDirection, PaymentReason, Result
from node.job.spec import JobSpec
from node.requester.collecting import Collector
from node.requester.outcome import Outcome, RunState, TransactionFailed
from node.requester.patience import Patience
from node.requester.posting import Transactions
from node.requester.results import BadDelivery, check_delivery, failure_text
from node.requester.runs import Run
from node.requester.steps import Accepted, Failed, OnStep, ProposalIgnored, ResultSubmitted, printable
from node.types import Wei

SHOWN_REASONS = 3


class Closing:
    """The last part of every run."""

    def __init__(
        self,
        *,
        chain: Chain,
        contracts: MarketContracts,
        transactions: Transactions,
        collector: Collector,
        patience: Patience,
        on_step: OnStep,
    ) -> None:
        self._chain = chain
        self._contracts = contracts
        self._transactions = transactions
        self._collector = collector
        self._patience = patience
        self._on_step = on_step

    def no_proposal(self, run: Run, ignored: Sequence[ProposalIgnored]) -> Outcome:
        """End a run for which nobody made an offer that could be taken."""
        if not ignored:
            reason = "no provider proposed to do the job in time"
            next_step = "try again with a longer --wait or a higher --max-price"
        else:
            listed = "; ".join(f"{step.provider}: {step.reason}" for step in ignored[:SHOWN_REASONS])
            reason = printable(f"none of the {len(ignored)} proposals could be taken ({listed})")
            next_step = "correct what is named, or try again with a higher --max-price"
        return self._failed(run, RunState.NO_PROPOSAL, reason, next_step)

    def provider_silent(self, run: Run, deal: Deal, *, claimed: bool) -> Outcome:
        """End a run whose provider delivered nothing by the deadline."""
        provider = deal.members.resource_provider
        if claimed:
            reason = f"the provider {provider} delivered nothing in time; payment and collateral came back"
            return self._failed(run, RunState.PROVIDER_SILENT, reason, "run the job again", deal)
        reason = f"the provider {provider} delivered nothing in time, and the market did not give the refund"
        next_step = f"try the refund again later with: sdv-node run --resume {run.run_id}"
        return self._failed(run, RunState.PROVIDER_SILENT, reason, next_step, deal)

    def ended(self, run: Run, deal: Deal, state: AgreementState) -> Outcome:
        """End a run whose deal is in a state that this command does not bring about."""
        reason = f"the deal {deal.deal_id} is in the state {state.name.lower()}"
        next_step = (
            f"a mediator rules now; look again with: sdv-node run --resume {run.run_id}"
            if state is AgreementState.RESULTS_CHECKED
            else "nothing is left to do for this deal"
        )
        return self._failed(run, RunState.ENDED, reason, next_step, deal)

    async def claim_refund(self, run: Run, deal: Deal, state: AgreementState, attempt: int) -> None:
        """Ask the market for what a silent provider owes; the deal's state tells whether it was given."""
        if state is AgreementState.DEAL_AGREED:
            call = self._contracts.timeout_submit_result(deal.deal_id)
        else:
            call = self._contracts.timeout_agree(deal.deal_id)
        await self._transactions.send(TxIntent(run.intent(f"refund:{deal.deal_id}:{attempt}"), call))

    async def settle(self, run: Run, spec: JobSpec, deal: Deal, state: AgreementState) -> Outcome:
        """Download, verify and accept a submitted result; ``state`` tells whether it is accepted already."""
        try:
            result = await self._patience.ask(lambda: self._result(deal))
        except Unreadable as error:
            return self._refused(run, deal, printable(str(error)))
        data_id = printable(result.data_id, 128)
        self._on_step(ResultSubmitted(deal.deal_id, data_id, result.instruction_count))
        if result.instruction_count == 0:
            return await self._honest_failure(run, deal, result, state)
        if result.instruction_count != 1:
            reason = f"the provider counts {result.instruction_count} instructions, agreed is a price for 1"
            return self._refused(run, deal, reason)
        try:
            cid, directory = await self._collector.collect(deal, result.data_id)
        except Retryable as error:
            reason = f"the result could not be downloaded, so it is not accepted: {printable(str(error))}"
            next_step = f"try again before the provider's claim falls due: sdv-node run --resume {run.run_id}"
            return self._failed(run, RunState.NOT_DOWNLOADED, reason, next_step, deal)
        except NodeError as error:
            return self._refused(run, deal, printable(str(error)))
        try:
            await asyncio.to_thread(check_delivery, directory, spec)
        except BadDelivery as error:
            return replace(self._refused(run, deal, printable(str(error))), cid=cid, directory=directory)
        paid_wei = await self._accept(run, deal, state)
        return Outcome(RunState.PAID, run.run_id, run.number, deal.deal_id, cid, directory, paid_wei)

    async def dispute(self, run: Run, deal: Deal) -> Outcome:
        """Have a mediator rule on a submitted result. Raises TransactionFailed."""
        fee_wei = deal.pricing.mediation_fee_wei
        payments = self._contracts.addresses.payments
        allowance = self._contracts.approve(payments, fee_wei)
        for intent in (
            TxIntent(run.intent(f"approve_fee:{deal.deal_id}"), allowance),
            TxIntent(run.intent(f"check:{deal.deal_id}"), self._contracts.check_result(deal.deal_id)),
        ):
            outcome = await self._transactions.send(intent)
            if not isinstance(outcome, Mined):
                raise TransactionFailed(f"the result could not be disputed: {printable(outcome.reason)}")
        return self.ended(run, deal, AgreementState.RESULTS_CHECKED)

    async def _honest_failure(self, run: Run, deal: Deal, result: Result, state: AgreementState) -> Outcome:
        # First of all: it costs nothing here and is what brings our own collateral back.
        await self._accept(run, deal, state)
        said, cid, directory = "it gives no reason", None, None
        if result.data_id:
            try:
                cid, directory = await self._collector.collect(deal, result.data_id)
                said = await asyncio.to_thread(failure_text, directory) or said
            except NodeError as error:
                said = f"its explanation could not be read: {printable(str(error), 200)}"
        reason = f"the provider could not do the job: {said}"
        next_step = "nothing was paid and the collateral is back: run the job again"
        outcome = self._failed(run, RunState.PROVIDER_FAILED, reason, next_step, deal)
        return replace(outcome, cid=cid, directory=directory)

    async def _accept(self, run: Run, deal: Deal, state: AgreementState) -> Wei:
        """Accept a result, unless that was done before. Returns what the provider was paid."""
        if state is not AgreementState.RESULTS_ACCEPTED:
            call = self._contracts.accept_result(deal.deal_id)
            outcome = await self._transactions.send(TxIntent(run.intent(f"accept:{deal.deal_id}"), call))
            if isinstance(outcome, Mined):
                paid_wei = await self._patience.ask(lambda: self._paid(deal, outcome))
                self._on_step(Accepted(deal.deal_id, outcome.tx_hash, paid_wei))
                return paid_wei
            now = await self._patience.ask(lambda: self._contracts.get_agreement(deal.deal_id))
            if now.state is not AgreementState.RESULTS_ACCEPTED:
                raise TransactionFailed(
                    f"the result could not be accepted: {printable(outcome.reason)}; "
                    f"look again with: sdv-node run --resume {run.run_id}"
                )
        result = await self._patience.ask(lambda: self._result(deal))
        owed_wei = deal.pricing.instruction_price_wei * result.instruction_count
        paid_wei = Wei(min(owed_wei, deal.pricing.payment_collateral_wei))
        self._on_step(Accepted(deal.deal_id, None, paid_wei))
        return paid_wei

    async def _paid(self, deal: Deal, mined: Mined) -> Wei:
        block = mined.block_number
        logs = await self._chain.logs(block, block, [self._contracts.addresses.payments], [PAYMENT])
        events = [decode(log) for log in logs if log.tx_hash == mined.tx_hash]
        ours = [event for event in events if isinstance(event, Payment) and event.deal_id == deal.deal_id]
        if not ours:
            raise Retryable(f"the RPC endpoint does not show the payments of transaction {mined.tx_hash} yet")
        paid = (PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT)
        return Wei(sum(event.amount_wei for event in ours if (event.reason, event.direction) == paid))

    async def _result(self, deal: Deal) -> Result:
        result = await self._contracts.get_result(deal.deal_id)
        if result is None:
            raise Retryable(f"the RPC endpoint does not show the result of {deal.deal_id} yet")
        return result

    def _refused(self, run: Run, deal: Deal, reason: str) -> Outcome:
        hours = deal.timeouts.judge_results.timeout_s / 3600
        next_step = (
            f"nothing was accepted, but {hours:.1f} hours after submitting the provider can claim its pay; "
            f"to let a mediator rule before: sdv-node run --resume {run.run_id} --dispute"
        )
        return self._failed(run, RunState.RESULT_REFUSED, reason, next_step, deal)

    def _failed(
        self, run: Run, state: RunState, reason: str, next_step: str, deal: Deal | None = None
    ) -> Outcome:
        self._on_step(Failed(reason, next_step))
        deal_id = None if deal is None else deal.deal_id
        return Outcome(state, run.run_id, run.number, deal_id, reason=reason, next_step=next_step)
