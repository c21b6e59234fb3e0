"""A disputed result: a mediator is asked for, waited for, and passed over when it stays silent."""

from typing import Protocol

from node.chain.client import Call, Chain
from node.chain.contracts import MarketContracts
from node.chain.resending import Transactions, send_while_wanted
from node.chain.rules import MediationClock
from node.chain.txmanager import Failed as NotMined
from node.chain.txmanager import TxIntent
from node.job.deal import Agreement, AgreementState, Deal
from node.requester.allowance import Allowances
from node.requester.outcome import TransactionFailed
from node.requester.patience import Patience
from node.requester.runs import Run
from node.requester.steps import Disputed, MediatorAwaited, MediatorSilent, OnStep, printable
from node.types import Address


class Disputes(Protocol):
    """What the end of a run asks of disputes."""

    async def begin(self, run: Run, deal: Deal, reason: str) -> None:
        """Have a mediator drawn. Raises TransactionFailed."""
        ...


class Disputing:
    """The requester's part of a mediation."""

    def __init__(
        self,
        *,
        chain: Chain,
        contracts: MarketContracts,
        transactions: Transactions,
        allowances: Allowances,
        patience: Patience,
        on_step: OnStep,
    ) -> None:
        self._chain = chain
        self._contracts = contracts
        self._transactions = transactions
        self._allowances = allowances
        self._patience = patience
        self._on_step = on_step
        self._told: tuple[Address | None, int] | None = None

    async def begin(self, run: Run, deal: Deal, reason: str) -> None:
        """Have a mediator rule on a submitted result. Raises TransactionFailed."""
        state = (await self._agreement(deal)).state
        problem = None
        if state is AgreementState.RESULTS_SUBMITTED:
            approving = run.intent(f"approve_fee:{deal.deal_id}")
            problem = await self._allowances.give(approving, deal.pricing.mediation_fee_wei)
            if problem is None:
                call = self._contracts.check_result(deal.deal_id)
                problem = await self._send(run, f"check:{deal.deal_id}", deal, call, state)
        elif state is not AgreementState.RESULTS_CHECKED:
            problem = f"the deal {deal.deal_id} is in the state {state.name.lower()}"
        if problem is not None:
            raise TransactionFailed(f"the result could not be disputed: {problem}")
        self._on_step(Disputed(deal.deal_id, printable(reason), deal.pricing.mediation_fee_wei))

    async def wait(self, run: Run, deal: Deal, agreement: Agreement) -> None:
        """Look once at a deal that waits for its mediator; one whose time is over makes room for the next."""
        mediator = await self._patience.ask(lambda: self._contracts.get_mediator(deal.deal_id))
        over_at = await self._over_at(deal, agreement)
        if self._told != (mediator, over_at):
            self._told = (mediator, over_at)
            self._on_step(MediatorAwaited(deal.deal_id, mediator, over_at))
        head = await self._patience.ask(self._chain.head)
        if head.timestamp <= over_at:
            return
        call = self._contracts.timeout_mediate_result(deal.deal_id)
        problem = await self._send(
            run, f"pass_over:{deal.deal_id}:{mediator}", deal, call, AgreementState.RESULTS_CHECKED
        )
        if problem is None:
            self._on_step(MediatorSilent(deal.deal_id, mediator))

    async def _over_at(self, deal: Deal, agreement: Agreement) -> int:
        """Return until when the mediator may rule, in block time."""
        if self._contracts.rules.mediation_timeout_from is MediationClock.DRAWN:
            drawn_at = await self._patience.ask(lambda: self._contracts.drawn_at(deal.deal_id))
            return drawn_at + deal.timeouts.mediate_results.timeout_s
        return agreement.results_submitted_at + deal.timeouts.judge_results.timeout_s

    async def _send(
        self, run: Run, action: str, deal: Deal, call: Call, waiting: AgreementState
    ) -> str | None:
        """Send a call; returns why it was not mined, None if it was."""

        async def still_waiting() -> bool:
            return (await self._agreement(deal)).state is waiting

        intent = TxIntent(run.intent(action), call)
        outcome = (await send_while_wanted(self._transactions, intent, still_waiting)).outcome
        return printable(outcome.reason) if isinstance(outcome, NotMined) else None

    async def _agreement(self, deal: Deal) -> Agreement:
        return await self._patience.ask(lambda: self._contracts.get_agreement(deal.deal_id))
