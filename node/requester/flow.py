"""One requested job from its posting to the paid result: the order of things, and what each ending means.

Every step asks the chain first and sends through intents that carry the run's id, so a run that was broken
off anywhere is picked up with ``resume`` and pays at most once. Owns no key, no socket and no IPFS code.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from node.chain.client import Chain
from node.chain.contracts import MarketContracts
from node.chain.resending import Transactions
from node.clock import Clock
from node.destinations import Reach
from node.errors import Misconfigured, Retryable
from node.job.deal import Agreement, AgreementState, Deal
from node.job.job import hire_id_for, job_id_for
from node.job.spec import JobSpec, parse_inputs
from node.requester.agreeing import Agreeing
from node.requester.allowance import Allowances
from node.requester.checking import Checker, drawn
from node.requester.closing import Closing
from node.requester.collecting import Collector, Delivery
from node.requester.disputing import Disputing
from node.requester.hiring import CannotHire, Hiring, NoOfferToHire
from node.requester.negotiating import Negotiating
from node.requester.offers import Documents, Offer, OfferReader
from node.requester.outcome import Outcome
from node.requester.patience import Patience
from node.requester.posting import check_wallet, inputs_to_post, post_job
from node.requester.proposals import Limits, locked_wei
from node.requester.provider import ProviderStatus
from node.requester.runs import Matching, Run, RunRecords, UnknownRun, new_run_id
from node.requester.steps import (
    CheckDrawn,
    DealAgreed,
    HireLapsed,
    HireRefused,
    OnStep,
    Publishing,
    Rendering,
    Resumed,
    Started,
    printable,
)
from node.requester.track_record import TrackRecords
from node.types import Address, DealId, Wei

UNANSWERED = frozenset({AgreementState.DEAL_NEGOTIATING, AgreementState.TIMEOUT_AGREE})
MAX_CLAIMS = 3
"""How often the refund from a silent provider is tried before the run says that it is not to be had."""


@dataclass(frozen=True, slots=True)
class RequesterSettings:
    """What the operator set. Durations in seconds."""

    data_dir: Path
    limits: Limits
    confirmations: int
    reach: Reach
    """How far the addresses that providers publish may lead."""
    matching: Matching = "both"
    wait_for_proposals_s: float = 120.0
    gather_s: float = 5.0
    """How long to wait for better proposals after the first good one."""
    poll_interval_s: float = 1.0
    gateways: tuple[str, ...] = ()
    """Asked for results beside the provider's own."""
    check_rate: float = 0.0
    """The share of runs whose results are checked before they are accepted."""
    check_by: Literal["execution", "mediator"] = "execution"


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
        documents: Documents,
        provider_status: ProviderStatus,
        records: RunRecords,
        settings: RequesterSettings,
        checker: Checker,
        clock: Clock,
        on_step: OnStep,
    ) -> None:
        self._checker = checker
        self._address = address
        self._chain = chain
        self._contracts = contracts
        self._transactions = transactions
        self._provider_status = provider_status
        self._records = records
        self._settings = settings
        self._clock = clock
        self._on_step = on_step
        self._patience = patience = Patience(clock, on_step)
        self._collector = Collector(
            data_dir=settings.data_dir,
            contracts=contracts,
            delivery=delivery,
            patience=patience,
            on_step=on_step,
            reach=settings.reach,
            gateways=settings.gateways,
        )
        allowances = Allowances(
            address=address, contracts=contracts, transactions=transactions, patience=patience
        )
        self._disputing = Disputing(
            chain=chain,
            contracts=contracts,
            transactions=transactions,
            allowances=allowances,
            patience=patience,
            on_step=on_step,
        )
        self._closing = Closing(
            chain=chain,
            contracts=contracts,
            transactions=transactions,
            collector=self._collector,
            disputes=self._disputing,
            checker=checker,
            patience=patience,
            on_step=on_step,
        )
        self._agreeing = Agreeing(
            address=address,
            contracts=contracts,
            transactions=transactions,
            allowances=allowances,
            records=records,
            patience=patience,
            on_step=on_step,
        )
        track_records = TrackRecords(chain, contracts)
        self._hiring = Hiring(
            address=address,
            chain=chain,
            contracts=contracts,
            reader=OfferReader(
                chain=chain,
                contracts=contracts,
                documents=documents,
                requester=address,
                limits=settings.limits,
                reach=settings.reach,
                on_step=on_step,
            ),
            agreeing=self._agreeing,
            track_records=track_records,
            limits=settings.limits,
            patience=patience,
            on_step=on_step,
        )
        self._negotiating = Negotiating(
            address=address,
            chain=chain,
            contracts=contracts,
            hiring=self._hiring,
            track_records=track_records,
            agreeing=self._agreeing,
            gateway_of=self._collector.gateway_of,
            limits=settings.limits,
            confirmations=settings.confirmations,
            wait_s=settings.wait_for_proposals_s,
            gather_s=settings.gather_s,
            poll_interval_s=settings.poll_interval_s,
            clock=clock,
            patience=patience,
            on_step=on_step,
        )

    async def symbol(self) -> str:
        """Return what the payment token calls itself, safe to print."""
        return printable(await self._contracts.token_symbol(), 16)

    async def request(self, module: str, inputs: Iterable[str], provider: Address | None = None) -> Outcome:
        """Post a job and carry it through to its end; with ``provider`` that one is hired, and no other.

        Raises InvalidInputs, CannotPay, CannotHire, NoOfferToHire and RefusedByPolicy before anything is
        sent; Unreachable when an endpoint stays silent, in which case ``resume`` goes on.
        """
        typed = tuple(inputs)
        spec = parse_inputs(module, typed)
        check = drawn(self._settings.check_rate, self._settings.check_by)
        if check == "execution":
            self._checker.require()
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
            provider=provider,
            matching=self._settings.matching,
            check=check,
        )
        offers = await self._offers(run, spec)
        self._records.save(run)
        self._on_step(Started(run.run_id))
        if 0 < self._settings.check_rate < 1:
            self._on_step(CheckDrawn(checked=check != "never"))
        return await self._carry_on(run, offers)

    async def resume(self, run_id: str) -> Outcome:
        """Go on with a run that was broken off. Raises UnknownRun, Misconfigured."""
        run = self._load(run_id)
        await self._tell_what_stands(run)
        return await self._carry_on(run, None)

    async def dispute(self, run_id: str) -> Outcome:
        """Have a mediator rule on a run's result. Raises UnknownRun, Misconfigured, TransactionFailed."""
        run = self._load(run_id)
        deal = None if run.deal_id is None else await self._contracts.get_deal(run.deal_id)
        if deal is None:
            raise UnknownRun(f"run {run_id} has no deal, so there is no result to dispute")
        await self._disputing.begin(run, deal, "the requester refuses it")
        return self._closing.disputed(run, deal)

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
        # A limit that was lowered since holds for what is still to be agreed.
        limit = min(run.max_price_wei, self._settings.limits.max_price_wei)
        return replace(run, max_price_wei=limit)

    async def _tell_what_stands(self, run: Run) -> None:
        deal_id, state, provider, locked = run.deal_id, None, None, Wei(0)
        if deal_id is not None:
            agreement = await self._patience.ask(lambda: self._contracts.get_agreement(deal_id))
            deal = run.hire or await self._patience.ask(lambda: self._contracts.get_deal(deal_id))
            state = agreement.state if agreement.job_creator_agreed_at else None
            if state is AgreementState.DEAL_NEGOTIATING:
                self._agreeing.unanswered.add(deal_id)
            if deal is not None:
                provider, locked = deal.members.resource_provider, locked_wei(deal)
        self._on_step(Resumed(run.run_id, run.job_number, deal_id, provider, state, locked))

    async def _offers(self, run: Run, spec: JobSpec) -> list[Offer] | None:
        """Return the offers to hire on, None where proposals count too and posting need not wait for them.

        Raises CannotHire and NoOfferToHire.
        """
        if run.provider is not None:
            return [await self._hiring.named(run.provider, spec, Wei(run.max_price_wei))]
        if run.matching == "hire":
            return await self._hiring.candidates(run, spec)
        return None

    async def _carry_on(self, run: Run, offers: list[Offer] | None) -> Outcome:
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
        while True:
            deal = None if run.deal_id is None else await self._agreed_before(run, run.deal_id)
            if deal is None:
                run = replace(run, deal_id=None, hire=None)
                try:
                    known = offers if offers is not None else await self._offers(run, spec)
                except (CannotHire, NoOfferToHire) as error:
                    return self._closing.not_hired(run, str(error))
                found = await self._negotiating.find(run, spec, known)
                if not isinstance(found, Deal):
                    return self._closing.no_deal(run, found, self._hiring.ignored)
                run, deal, offers = self._records.load(run.run_id), found, None
            ended = await self._follow(run, spec, deal)
            if isinstance(ended, Outcome):
                return ended
            run = ended

    async def _agreed_before(self, run: Run, deal_id: DealId) -> Deal | None:
        # The agreement may still be under way: only its own final outcome allows to choose another provider,
        # because two agreed deals are paid twice.
        deal = run.hire or await self._patience.ask(lambda: self._contracts.get_deal(deal_id))
        if deal is None:
            return None
        agreement = await self._patience.ask(lambda: self._contracts.get_agreement(deal_id))
        stands = await self._agreeing.stands(deal, agreement)
        if stands or await self._agreeing.send(run, deal, chosen=False) is None:
            return deal
        return None

    async def _follow(self, run: Run, spec: JobSpec, deal: Deal) -> Outcome | Run:
        """Follow a deal to its end; a run that is to look for another provider comes back."""
        claims, told_refused = 0, False
        while True:
            agreement = await self._patience.ask(lambda: self._contracts.get_agreement(deal.deal_id))
            state = agreement.state
            if state not in UNANSWERED and deal.deal_id in self._agreeing.unanswered:
                self._agreeing.unanswered.discard(deal.deal_id)
                self._on_step(DealAgreed(deal.deal_id, locked_wei(deal)))
            match state:
                case AgreementState.DEAL_NEGOTIATING | AgreementState.DEAL_AGREED:
                    if not await self._is_late(deal, agreement):
                        refused = await self._watch_provider(run, deal)
                        if refused and not told_refused and state is AgreementState.DEAL_NEGOTIATING:
                            told_refused = True
                            self._on_step(HireRefused(deal.members.resource_provider, refused))
                    elif self._closing.without_remedy(state):
                        return self._closing.provider_silent_without_remedy(run, deal)
                    elif claims == MAX_CLAIMS:
                        return self._closing.provider_silent(run, deal, claimed=False)
                    else:
                        claims += 1
                        await self._closing.claim_refund(run, deal, state)
                case AgreementState.RESULTS_SUBMITTED | AgreementState.RESULTS_ACCEPTED:
                    settled = await self._closing.settle(run, spec, deal, state)
                    if settled is not None:
                        return settled
                case AgreementState.RESULTS_CHECKED:
                    await self._disputing.wait(run, deal, agreement)
                case AgreementState.MEDIATION_ACCEPTED | AgreementState.MEDIATION_REJECTED:
                    return await self._closing.judged(run, spec, deal, state)
                case AgreementState.TIMEOUT_AGREE if run.hire is not None:
                    return self._lapsed(run, deal)
                case AgreementState.TIMEOUT_AGREE | AgreementState.TIMEOUT_SUBMIT_RESULTS:
                    return self._closing.provider_silent(run, deal, claimed=True)
                case _:
                    return self._closing.ended(run, deal, state)
            await self._clock.sleep(self._settings.poll_interval_s)

    def _lapsed(self, run: Run, deal: Deal) -> Outcome | Run:
        provider = deal.members.resource_provider
        self._on_step(HireLapsed(deal.deal_id, provider, locked_wei(deal)))
        if run.provider is not None:
            return self._closing.hire_unanswered(run, deal)
        run = replace(run, deal_id=None, hire=None, passed_over=(*run.passed_over, provider))
        self._records.save(run)
        return run

    async def _is_late(self, deal: Deal, agreement: Agreement) -> bool:
        # Block time, because that is what the market judges by. An agreed deal that is negotiating again lost
        # the provider's half in a reorganisation; it may come back until the window to agree closes.
        head = await self._patience.ask(self._chain.head)
        if agreement.state is AgreementState.DEAL_AGREED:
            return head.timestamp > agreement.deal_agreed_at + deal.timeouts.submit_results.timeout_s
        began_at = agreement.deal_created_at if agreement.job_creator_agreed_at else 0
        return bool(began_at) and head.timestamp > began_at + deal.timeouts.agree.timeout_s

    async def _watch_provider(self, run: Run, deal: Deal) -> str | None:
        """Show how far the provider says it is. Returns why it refused the hire, if it says so."""
        try:
            gateway = await self._collector.gateway_of(deal)
        except Retryable:
            return None
        # Its own proposal and a hire on the same terms are one deal, which it knows under either name.
        names = [job_id_for(run.number)]
        if run.hire is not None:
            names.insert(0, hire_id_for(run.number))
        for name in names:
            report = await self._provider_status.report(gateway, name, deal.deal_id)
            if report is None:
                continue
            if report.publishing:
                self._on_step(Publishing(deal.deal_id))
            elif report.progress is not None:
                self._on_step(Rendering(deal.deal_id, report.progress, report.left_s))
            return report.refused
        return None
