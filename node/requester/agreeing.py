"""Agreeing to a deal as its job creator: the wallet can cover it, the allowance is given, it is written down.

Only the agreement's own final outcome allows to look for another provider, because two agreed deals are paid
twice; and a run that was broken off here asks for the same outcome again.
"""

from dataclasses import replace

from node.chain.contracts import MarketContracts
from node.chain.resending import Transactions, send_while_wanted
from node.chain.txmanager import Mined, TxIntent
from node.job.amounts import tokens
from node.job.deal import Agreement, AgreementState, Deal
from node.requester.allowance import Allowances
from node.requester.patience import Patience
from node.requester.proposals import locked_wei
from node.requester.runs import Run, RunRecords
from node.requester.steps import DealAgreed, Hired, OnStep, printable
from node.types import Address, DealId


class Agreeing:
    """Sends ``agree`` for one account, second to a proposal or first to hire."""

    def __init__(
        self,
        *,
        address: Address,
        contracts: MarketContracts,
        transactions: Transactions,
        allowances: Allowances,
        records: RunRecords,
        patience: Patience,
        on_step: OnStep,
    ) -> None:
        self._address = address
        self._contracts = contracts
        self._transactions = transactions
        self._allowances = allowances
        self._records = records
        self._patience = patience
        self._on_step = on_step
        self.unanswered: set[DealId] = set()
        """Deals we agreed to first; they are told of as agreed when their provider agrees."""

    async def shortage(self, deal: Deal) -> str | None:
        """Return why the wallet cannot cover a deal, or None."""
        needed = locked_wei(deal)
        balance = await self._patience.ask(lambda: self._contracts.token_balance(self._address))
        if balance >= needed:
            return None
        return f"it locks {tokens(needed)} tokens, and the wallet holds {tokens(balance)}: fund the wallet"

    async def take(self, run: Run, deal: Deal, *, first: bool) -> str | None:
        """Agree to a deal. Returns why it cannot be done, or None; the run's record then names the deal."""
        if (reason := await self.shortage(deal)) is not None:
            return reason
        reason = await self._allowances.give(run.intent(f"approve:{deal.deal_id}"), locked_wei(deal))
        if reason is not None:
            return f"the allowance for it could not be given: {reason}"
        self._records.save(replace(run, deal_id=deal.deal_id, hire=deal if first else None))
        return await self.send(run, deal, chosen=True)

    async def send(self, run: Run, deal: Deal, *, chosen: bool) -> str | None:
        """Send the agreement that the record names, or learn what became of it; returns why it failed.

        One that was mined and reverted is followed by another only where the deal was ``chosen`` just now.
        """

        async def still_open() -> bool:
            if not chosen:
                return False
            agreement = await self._patience.ask(lambda: self._contracts.get_agreement(deal.deal_id))
            return agreement.state is AgreementState.DEAL_NEGOTIATING and not agreement.job_creator_agreed_at

        intent = TxIntent(run.intent(f"agree:{deal.deal_id}"), self._contracts.agree(deal))
        outcome = (await send_while_wanted(self._transactions, intent, still_open)).outcome
        agreement = await self._patience.ask(lambda: self._contracts.get_agreement(deal.deal_id))
        if not isinstance(outcome, Mined) and not await self.stands(deal, agreement):
            self._records.save(replace(run, deal_id=None, hire=None))
            refuser = "this wallet's policy" if outcome.by_policy else "the market"
            return f"{refuser} refused our agreement: {printable(outcome.reason)}"
        if agreement.state is AgreementState.DEAL_NEGOTIATING:
            closes_at = agreement.deal_created_at + deal.timeouts.agree.timeout_s
            provider = deal.members.resource_provider
            self.unanswered.add(deal.deal_id)
            self._on_step(Hired(deal.deal_id, provider, locked_wei(deal), closes_at))
        else:
            self._on_step(DealAgreed(deal.deal_id, locked_wei(deal)))
        return None

    async def stands(self, deal: Deal, agreement: Agreement) -> bool:
        """Whether our half of exactly this deal stands; an id can also be somebody else's."""
        if not agreement.job_creator_agreed_at:
            return False
        return await self._patience.ask(lambda: self._contracts.get_deal(deal.deal_id)) == deal
