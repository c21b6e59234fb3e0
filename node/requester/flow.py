"""One requested job from its posting to the paid result: the order of things, and what each ending means.

Every step asks the chain first and sends through intents that carry the run's id, so a run that was broken
off anywhere is picked up with ``resume`` and pays at most once. Owns no key, no socket and no IPFS code.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from node.chain.client import Chain
from node.chain.contracts import MarketContracts
from node.chain.txmanager import Mined, TxIntent
from node.clock import Clock
from node.errors import Misconfigured, Retryable
from node.job.deal import Agreement, AgreementState, Deal
from node.job.spec import JobSpec, parse_inputs
from node.requester.closing import Closing
from node.requester.collecting import Collector, Delivery
from node.requester.discovery import ProposalWatch
from node.requester.outcome import Outcome
from node.requester.patience import Patience
from node.requester.posting import Transactions, check_wallet, inputs_to_post, post_job
from node.requester.proposals import Limits, Proposal, Request, locked_wei
from node.requester.provider import ProviderStatus
from node.requester.runs import Run, RunRecords, UnknownRun, new_run_id
from node.requester.steps import Chosen, DealAgreed, OnStep, Rendering, Started, printable
from node.types import Address, DealId, Wei

MAX_CLAIMS = 3
"""How often the refund from a silent provider is tried before the run says that it is not to be had."""


@dataclass(frozen=True, slots=True)
class RequesterSettings:
    """What the operator set. Durations in seconds."""

    data_dir: Path
    limits: Limits
    confirmations: int
    wait_for_proposals_s: float = 120.0
    gather_s: float = 5.0
    """How long to wait for better proposals after the first good one."""
    poll_interval_s: float = 1.0


class Requester:
    """The job creator's side of the market, for one account."""

    def __init__(
        self,
        *,
        address: Address,
        chain: Chain,
        contracts: MarketContracts,
        transactions: Transactions,
        delivery: Delivery,
        provider_status: ProviderStatus,
        records: RunRecords,
        settings: RequesterSettings,
        clock: Clock,
        on_step: OnStep,
    ) -> None:
        self._address = address
        self._chain = chain
        self._contracts = contracts
        self._transactions = transactions
        self._provider_status = provider_status
        self._records = records
        self._settings = settings
        self._clock = clock
        self._on_step = on_step
        self._patience = Patience(clock, on_step)
        collector = Collector(
            data_dir=settings.data_dir,
            contracts=contracts,
            delivery=delivery,
            patience=self._patience,
            on_step=on_step,
        )
        self._collector = collector
        self._closing = Closing(
            chain=chain,
            contracts=contracts,
            transactions=transactions,
            collector=collector,
            patience=self._patience,
            on_step=on_step,
        )

    async def symbol(self) -> str:
        """Return what the payment token calls itself, safe to print."""
        return printable(await self._contracts.token_symbol(), 16)

    async def request(self, module: str, inputs: Iterable[str]) -> Outcome:
        """Post a job and carry it through to its end.

        Raises InvalidInputs, CannotPay and RefusedByPolicy before anything is sent; Unreachable when an
        endpoint stays silent, in which case ``resume`` goes on.
        """
        typed = tuple(inputs)
        spec = parse_inputs(module, typed)
        await check_wallet(self._chain, self._contracts, self._address)
        place = self._contracts.place
        run = Run(
            run_id=new_run_id(),
            chain_id=place.chain_id,
            controller=place.controller,
            requester=self._address,
            module=spec.module,
            inputs=inputs_to_post(spec, typed),
            max_price_wei=self._settings.limits.max_price_wei,
            from_block=(await self._chain.head()).number,
        )
        self._records.save(run)
        self._on_step(Started(run.run_id))
        return await self._carry_on(run)

    async def resume(self, run_id: str) -> Outcome:
        """Go on with a run that was broken off. Raises UnknownRun, Misconfigured."""
        return await self._carry_on(self._load(run_id))

    async def dispute(self, run_id: str) -> Outcome:
        """Have a mediator rule on a run's result. Raises UnknownRun, Misconfigured, TransactionFailed."""
        run = self._load(run_id)
        deal = None if run.deal_id is None else await self._contracts.get_deal(run.deal_id)
        if deal is None:
            raise UnknownRun(f"run {run_id} has no deal, so there is no result to dispute")
        return await self._closing.dispute(run, deal)

    def _load(self, run_id: str) -> Run:
        run = self._records.load(run_id)
        place = self._contracts.place
        if (run.chain_id, run.controller) != (place.chain_id, place.controller):
            raise Misconfigured(
                f"run {run_id} is on chain {run.chain_id} with the controller {run.controller}: "
                "set that network, then resume"
            )
        if run.requester != self._address:
            raise Misconfigured(
                f"run {run_id} belongs to the account {run.requester}: use its key, then resume"
            )
        return run

    async def _carry_on(self, run: Run) -> Outcome:
        spec = parse_inputs(run.module, run.inputs)
        if run.job_number is None:
            run = await post_job(
                run,
                chain=self._chain,
                contracts=self._contracts,
                transactions=self._transactions,
                patience=self._patience,
                on_step=self._on_step,
            )
            self._records.save(run)
        deal = None if run.deal_id is None else await self._agreed_before(run, run.deal_id)
        if deal is None:
            found = await self._negotiate(run)
            if isinstance(found, Outcome):
                return found
            deal = found
        return await self._follow(replace(run, deal_id=deal.deal_id), spec, deal)

    async def _agreed_before(self, run: Run, deal_id: DealId) -> Deal | None:
        # The agreement may still be under way: only its own final outcome allows to choose another provider,
        # because two agreed deals are paid twice.
        deal = await self._patience.ask(lambda: self._contracts.get_deal(deal_id))
        if deal is None:
            return None
        agreement = await self._patience.ask(lambda: self._contracts.get_agreement(deal_id))
        if not agreement.job_creator_agreed_at and await self._send_agree(run, deal) is not None:
            return None
        return deal

    async def _negotiate(self, run: Run) -> Deal | Outcome:
        watch = ProposalWatch(
            chain=self._chain,
            contracts=self._contracts,
            request=Request(self._contracts.place, run.number, self._address),
            limits=replace(
                self._settings.limits,
                max_price_wei=Wei(min(run.max_price_wei, self._settings.limits.max_price_wei)),
            ),
            from_block=run.from_block,
            confirmations=self._settings.confirmations,
            gateway_of=self._collector.gateway_of,
            on_step=self._on_step,
        )
        deadline = self._clock.monotonic() + self._settings.wait_for_proposals_s
        choose_at: float | None = None
        while True:
            await self._patience.ask(watch.poll)
            now = self._clock.monotonic()
            if watch.count and choose_at is None:
                choose_at = now + self._settings.gather_s
            if now >= deadline or (choose_at is not None and now >= choose_at):
                proposal = await self._patience.ask(watch.best)
                if proposal is None and now >= deadline:
                    return self._closing.no_proposal(run, watch.ignored)
                if proposal is not None:
                    reason = await self._take(run, proposal, watch.count)
                    if reason is None:
                        return proposal.deal
                    watch.discard(proposal, reason)
                    continue
                choose_at = None
            await self._clock.sleep(self._settings.poll_interval_s)

    async def _take(self, run: Run, proposal: Proposal, out_of: int) -> str | None:
        """Agree to a proposal. Returns why it could not be done, or None."""
        deal = proposal.deal
        provider = deal.members.resource_provider
        self._on_step(Chosen(deal.deal_id, provider, proposal.price_wei, out_of))
        needed = proposal.locked_wei
        balance = await self._patience.ask(lambda: self._contracts.token_balance(self._address))
        if balance < needed:
            return f"it locks {needed} wei, and the wallet holds {balance} wei"
        payments = self._contracts.addresses.payments
        if (
            await self._patience.ask(lambda: self._contracts.token_allowance(self._address, payments))
            < needed
        ):
            intent = TxIntent(
                run.intent(f"approve:{deal.deal_id}"), self._contracts.approve(payments, needed)
            )
            outcome = await self._transactions.send(intent)
            if not isinstance(outcome, Mined):
                return f"the allowance for it could not be given: {printable(outcome.reason)}"
        self._records.save(replace(run, deal_id=deal.deal_id))
        return await self._send_agree(run, deal)

    async def _send_agree(self, run: Run, deal: Deal) -> str | None:
        outcome = await self._transactions.send(
            TxIntent(run.intent(f"agree:{deal.deal_id}"), self._contracts.agree(deal))
        )
        if not isinstance(outcome, Mined):
            agreement = await self._patience.ask(lambda: self._contracts.get_agreement(deal.deal_id))
            if not agreement.job_creator_agreed_at:
                self._records.save(replace(run, deal_id=None))
                return f"the market refused our agreement: {printable(outcome.reason)}"
        self._on_step(DealAgreed(deal.deal_id, locked_wei(deal)))
        return None

    async def _follow(self, run: Run, spec: JobSpec, deal: Deal) -> Outcome:
        claims = 0
        while True:
            agreement = await self._patience.ask(lambda: self._contracts.get_agreement(deal.deal_id))
            state = agreement.state
            match state:
                case AgreementState.DEAL_NEGOTIATING | AgreementState.DEAL_AGREED:
                    if not await self._is_late(deal, agreement):
                        await self._watch_provider(run, deal)
                    elif claims == MAX_CLAIMS:
                        return self._closing.provider_silent(run, deal, claimed=False)
                    else:
                        claims += 1
                        await self._closing.claim_refund(run, deal, state, claims)
                case AgreementState.RESULTS_SUBMITTED | AgreementState.RESULTS_ACCEPTED:
                    return await self._closing.settle(run, spec, deal, state)
                case AgreementState.TIMEOUT_AGREE | AgreementState.TIMEOUT_SUBMIT_RESULTS:
                    return self._closing.provider_silent(run, deal, claimed=True)
                case _:
                    return self._closing.ended(run, deal, state)
            await self._clock.sleep(self._settings.poll_interval_s)

    async def _is_late(self, deal: Deal, agreement: Agreement) -> bool:
        # Block time, because that is what the market judges by. An agreed deal that is negotiating again lost
        # the provider's half in a reorganisation; it may come back until the window to agree closes.
        head = await self._patience.ask(self._chain.head)
        if agreement.state is AgreementState.DEAL_AGREED:
            return head.timestamp > agreement.deal_agreed_at + deal.timeouts.submit_results.timeout_s
        began_at = agreement.job_creator_agreed_at
        return bool(began_at) and head.timestamp > began_at + deal.timeouts.agree.timeout_s

    async def _watch_provider(self, run: Run, deal: Deal) -> None:
        try:
            gateway = await self._collector.gateway_of(deal)
        except Retryable:
            return
        progress = await self._provider_status.progress(gateway, run.number)
        if progress is not None:
            self._on_step(Rendering(deal.deal_id, progress))
