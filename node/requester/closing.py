"""How a deal ends for the job creator: verified and accepted, failed honestly, refunded, or refused.

Accepts only what was downloaded and verified. Everything it cannot accept stays on disk with the reason and
the next step, because the money is still in escrow and a person may want to decide.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from node.chain.client import Call, Chain
from node.chain.contracts import MarketContracts, Unreadable
from node.chain.events import PAYMENT, Payment, decode
from node.chain.resending import Transactions, send_while_wanted
from node.chain.txmanager import Mined, TxIntent, TxOutcome
from node.errors import NodeError, Retryable
from node.job.deal import AgreementState, Deal, PaymentDirection, PaymentReason, Result
from node.job.spec import JobSpec
from node.requester.checking import Checker, Found
from node.requester.collecting import Collector
from node.requester.disputing import Disputes
from node.requester.outcome import Outcome, RunState, TransactionFailed
from node.requester.patience import Patience
from node.requester.results import BadDelivery, check_delivery, failure_text
from node.requester.runs import Run
from node.requester.steps import (
    Accepted,
    CheckedHere,
    Checking,
    Failed,
    OfferIgnored,
    OnStep,
    ProposalIgnored,
    ResultSubmitted,
    printable,
    reasons,
)
from node.types import Cid, Wei


class Closing:
    """The last part of every run."""

    def __init__(
        self,
        *,
        chain: Chain,
        contracts: MarketContracts,
        transactions: Transactions,
        collector: Collector,
        disputes: Disputes,
        checker: Checker,
        patience: Patience,
        on_step: OnStep,
    ) -> None:
        self._disputes = disputes
        self._checker = checker
        self._chain = chain
        self._contracts = contracts
        self._transactions = transactions
        self._collector = collector
        self._patience = patience
        self._on_step = on_step

    def no_deal(
        self,
        run: Run,
        ignored: Sequence[ProposalIgnored | OfferIgnored],
        unhired: Sequence[OfferIgnored] = (),
    ) -> Outcome:
        """End a run for which nobody made an offer that could be taken; ``unhired`` could not be chosen."""
        if not ignored and unhired:
            told = f"and none of the {len(unhired)} published offers could be taken ({reasons(unhired)})"
            reason = f"no provider proposed to do the job in time, {told}"
            next_step = "see to what is named, or try again with a longer --wait or a higher --max-price"
        elif not ignored:
            reason = "no provider proposed to do the job in time"
            next_step = "try again with a longer --wait or a higher --max-price"
        else:
            kind = "proposals" if isinstance(ignored[0], ProposalIgnored) else "offers"
            reason = printable(f"none of the {len(ignored)} {kind} could be taken ({reasons(ignored)})")
            next_step = "correct what is named, or try again with a higher --max-price"
        return self._failed(run, RunState.NO_PROPOSAL, reason, next_step)

    def not_hired(self, run: Run, reason: str) -> Outcome:
        """End a run whose provider cannot be hired any more, with nothing locked."""
        next_step = "nothing is locked: run the job again with another --provider, or without it"
        return self._failed(run, RunState.NO_PROPOSAL, printable(reason), next_step)

    def hire_unanswered(self, run: Run, deal: Deal) -> Outcome:
        """End a run whose one provider did not answer the hire in time."""
        provider = deal.members.resource_provider
        reason = f"the provider {provider} did not agree in time; payment and collateral came back"
        next_step = "run the job again with another --provider, or without it"
        return self._failed(run, RunState.PROVIDER_SILENT, reason, next_step, deal)

    def provider_silent(self, run: Run, deal: Deal, *, claimed: bool) -> Outcome:
        """End a run whose provider delivered nothing by the deadline."""
        provider = deal.members.resource_provider
        if claimed:
            reason = f"the provider {provider} delivered nothing in time; payment and collateral came back"
            return self._failed(run, RunState.PROVIDER_SILENT, reason, "run the job again", deal)
        reason = f"the provider {provider} delivered nothing in time, and the market did not give the refund"
        next_step = f"try the refund again later with: sdv-node run --resume {run.run_id}"
        return self._failed(run, RunState.PROVIDER_SILENT, reason, next_step, deal)

    def without_remedy(self, state: AgreementState) -> bool:
        """Tell whether this market has no call that works against a provider silent in this state."""
        return state is AgreementState.DEAL_AGREED and not self._contracts.rules.silence_has_remedy

    def provider_silent_without_remedy(self, run: Run, deal: Deal) -> Outcome:
        """End a run whose provider is silent on a market where only the provider can free what is locked."""
        provider = deal.members.resource_provider
        reason = (
            f"the provider {provider} delivered nothing in time, and this market's contracts have no working "
            "refund: payment and collateral stay locked until the provider submits something"
        )
        next_step = f"look again later with: sdv-node run --resume {run.run_id}"
        return self._failed(run, RunState.PROVIDER_SILENT, reason, next_step, deal)

    def ended(self, run: Run, deal: Deal, state: AgreementState) -> Outcome:
        """End a run whose deal is in a state that this command does not bring about."""
        reason = f"the deal {deal.deal_id} is in the state {state.name.lower()}"
        return self._failed(run, RunState.ENDED, reason, "nothing is left to do for this deal", deal)

    def disputed(self, run: Run, deal: Deal) -> Outcome:
        """Leave a run whose result a mediator has to rule on now."""
        next_step = f"a mediator rules now; wait for it with: sdv-node run --resume {run.run_id}"
        reason = f"the deal {deal.deal_id} is in the state results_checked"
        number, deal_id = run.number, deal.deal_id
        return Outcome(RunState.DISPUTED, run.run_id, number, deal_id, reason=reason, next_step=next_step)

    async def claim_refund(self, run: Run, deal: Deal, state: AgreementState) -> None:
        """Ask the market for what a silent provider owes; the deal's state tells whether it was given."""
        if state is AgreementState.DEAL_AGREED:
            action, call = "refund", self._contracts.timeout_submit_result(deal.deal_id)
        else:
            action, call = "take_back", self._contracts.timeout_agree(deal.deal_id)
        await self._send(run, action, deal, call, state)

    async def settle(self, run: Run, spec: JobSpec, deal: Deal, state: AgreementState) -> Outcome | None:
        """Download, verify, check and accept a submitted result; ``state`` tells whether it is accepted.

        None: a mediator was asked to rule on it.
        """
        try:
            result = await self._patience.ask(lambda: self._result(deal))
        except Unreadable as error:
            return await self._object(run, deal, printable(str(error)))
        data_id = printable(result.data_id, 128)
        self._on_step(ResultSubmitted(deal.deal_id, data_id, result.instruction_count))
        if result.instruction_count == 0:
            return await self._honest_failure(run, deal, result, state)
        if result.instruction_count != 1:
            reason = f"the provider counts {result.instruction_count} instructions, agreed is a price for 1"
            return await self._object(run, deal, reason)
        try:
            cid, directory = await self._collector.collect(deal, result.data_id)
        except Retryable as error:
            reason = f"the result could not be downloaded, so it is not accepted: {printable(str(error))}"
            next_step = (
                f"try again before the provider's claim falls due: sdv-node run --resume {run.run_id}; if it "
                "stays so, let a mediator rule with --dispute"
            )
            return self._failed(run, RunState.NOT_DOWNLOADED, reason, next_step, deal)
        except NodeError as error:
            return await self._object(run, deal, printable(str(error)))
        try:
            await asyncio.to_thread(check_delivery, directory, spec)
        except BadDelivery as error:
            refused = await self._object(run, deal, printable(str(error)))
            return refused and replace(refused, cid=cid, directory=directory)
        if state is AgreementState.RESULTS_SUBMITTED and run.check != "never":
            objection = await self._checked(run, spec, deal, cid, directory)
            if isinstance(objection, Outcome):
                return replace(objection, cid=cid, directory=directory)
            if objection is not None:
                refused = await self._object(run, deal, objection)
                return refused and replace(refused, cid=cid, directory=directory)
        paid_wei = await self._accept(run, deal, state)
        return Outcome(RunState.PAID, run.run_id, run.number, deal.deal_id, cid, directory, paid_wei)

    async def judged(self, run: Run, spec: JobSpec, deal: Deal, state: AgreementState) -> Outcome:
        """End a run on whose result a mediator ruled; one it ruled for is kept if it can be had."""
        if state is AgreementState.MEDIATION_REJECTED:
            reason = "the mediator ruled that the result is wrong; the payment came back, less the fee"
            return self._failed(run, RunState.REJECTED, reason, "run the job again", deal)
        paid_wei = deal.pricing.instruction_price_wei
        self._on_step(Accepted(deal.deal_id, None, paid_wei))
        try:
            result = await self._patience.ask(lambda: self._result(deal))
            cid, directory = await self._collector.collect(deal, result.data_id)
            await asyncio.to_thread(check_delivery, directory, spec)
        except NodeError as error:
            reason = (
                f"the mediator ruled for the provider, and the result is not here: {printable(str(error))}"
            )
            return self._failed(run, RunState.ENDED, reason, "nothing is left to do for this deal", deal)
        return Outcome(RunState.PAID, run.run_id, run.number, deal.deal_id, cid, directory, paid_wei)

    async def _checked(
        self, run: Run, spec: JobSpec, deal: Deal, cid: Cid, directory: Path
    ) -> str | Outcome | None:
        """Return what speaks against accepting a sound result, an outcome if there is no telling, or None."""
        if run.check == "mediator":
            return "a mediator was asked for when the job was posted"
        self._on_step(Checking(deal.deal_id))
        try:
            checked = await self._checker.check(deal.deal_id, spec, cid, directory)
        except NodeError as error:
            reason = f"the result could not be checked here, so it is not accepted: {printable(str(error))}"
            next_step = (
                f"mend that and go on: sdv-node run --resume {run.run_id}; or let a mediator rule: "
                f"sdv-node run --resume {run.run_id} --dispute"
            )
            return self._failed(run, RunState.RESULT_REFUSED, reason, next_step, deal)
        self._on_step(CheckedHere(deal.deal_id, printable(checked.reason), checked.evidence))
        return None if checked.found is Found.SAME else printable(checked.reason)

    async def _object(self, run: Run, deal: Deal, reason: str) -> Outcome | None:
        """Dispute a result, where the run says so; else refuse it and leave the rest to a person."""
        if run.check == "never":
            return self._refused(run, deal, reason)
        try:
            await self._disputes.begin(run, deal, reason)
        except TransactionFailed as error:
            return self._refused(run, deal, f"{reason}; {printable(str(error))}")
        return None

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
            outcome = await self._send(run, "accept", deal, call, state)
            if isinstance(outcome, Mined):
                paid_wei = await self._patience.ask(lambda: self._paid(deal, outcome))
                self._on_step(Accepted(deal.deal_id, outcome.tx_hash, paid_wei))
                return paid_wei
            if await self._state(deal) is not AgreementState.RESULTS_ACCEPTED:
                raise TransactionFailed(
                    f"the result could not be accepted: {printable(outcome.reason)}; "
                    f"look again with: sdv-node run --resume {run.run_id}"
                )
        result = await self._patience.ask(lambda: self._result(deal))
        owed_wei = deal.pricing.instruction_price_wei * result.instruction_count
        paid_wei = Wei(min(owed_wei, deal.pricing.payment_collateral_wei))
        self._on_step(Accepted(deal.deal_id, None, paid_wei))
        return paid_wei

    async def _send(
        self, run: Run, action: str, deal: Deal, call: Call, waiting: AgreementState
    ) -> TxOutcome:
        """Send a call; one that was reverted is sent anew when asked for again while the deal still waits."""

        async def still_waiting() -> bool:
            return await self._state(deal) is waiting

        intent = TxIntent(run.intent(f"{action}:{deal.deal_id}"), call)
        return (await send_while_wanted(self._transactions, intent, still_waiting)).outcome

    async def _state(self, deal: Deal) -> AgreementState:
        agreement = await self._patience.ask(lambda: self._contracts.get_agreement(deal.deal_id))
        return agreement.state

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
