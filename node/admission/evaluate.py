"""Gathering the facts about one offer and turning the verdict into an event."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import structlog

from node.admission import costs, counterparties
from node.admission.counterparties import Standing
from node.admission.disk import data_room
from node.admission.estimate import Estimate
from node.admission.hire_rules import HireFacts, hire_verdict
from node.admission.pricing import terms_of
from node.admission.rules import Facts, Refusal, foremost, verdict
from node.chain.client import Block, NetworkFees, Transaction
from node.config import AdmissionSection
from node.errors import NotYet
from node.job.deal import Agreement, Deal, MarketPlace
from node.job.effects import Effect
from node.job.events import Admitted, Declined, JobEvent
from node.job.job import Job
from node.job.phase import Phase
from node.job.spec import JobSpec
from node.job.terms import SALTS, PriceList, StandingTerms, deal_for, price_wei
from node.journal.ledger_rows import PaymentRecord
from node.types import Address, DealId, TxHash, Wei


class ChainFacts(Protocol):
    """Reads of the chain; the chain's ``Chain``."""

    async def head(self) -> Block:
        """Return the newest block."""
        ...

    async def transaction(self, tx_hash: TxHash) -> Transaction | None:
        """Return a transaction."""
        ...

    async def balance(self, address: Address) -> Wei:
        """Return the gas balance."""
        ...

    async def fees(self) -> NetworkFees:
        """Return what the network charges for a unit of gas now."""
        ...


class MarketFacts(Protocol):
    """Reads of the payment token and of deals; the chain's ``MarketContracts``."""

    async def token_balance(self, address: Address) -> Wei:
        """Return the balance."""
        ...

    async def token_allowance(self, owner: Address, spender: Address) -> Wei:
        """Return what the spender may take."""
        ...

    async def token_paused(self) -> bool:
        """Tell whether the token's owner stopped every movement of it."""
        ...

    async def get_agreement(self, deal_id: DealId) -> Agreement:
        """Return a deal's state and times."""
        ...

    async def escrow_behind(self, deal: Deal) -> Wei:
        """Return what the deal's job creator has in escrow for it."""
        ...


@dataclass(frozen=True, slots=True)
class Exposure:
    """What this node has promised so far and how busy it is."""

    open_deals: int
    open_proposals_of_requester: int
    committed_wei: Wei
    pulls_wei: Wei
    jobs_ahead: int
    worker_problem: str | None
    paused: bool
    unpaid_deals: int = 0
    unpaid_wei: Wei = Wei(0)
    """Of the requester: promised or delivered to it and not paid for."""
    open_proposals: int = 0
    bid_gas: int = 0
    """Gas that proposals nobody answered have burnt in the last hour."""
    slots: int = 1
    """How many workers are ready, each for a job at a time."""
    ahead_s: tuple[float, ...] = ()
    """What is left of each job that is to be rendered before a new one, as expected."""
    owed_wei: Wei = Wei(0)
    """What a pool of the requester's escrow has to cover already, for other deals of ours."""


class Records(Protocol):
    """How accounts have dealt with this node; the journal's ``LedgerJournal``."""

    async def record_of(self, requester: Address) -> PaymentRecord:
        """Return an account's record."""
        ...


class NotNow(NotYet):
    """The offer cannot be taken at this moment; it is asked again while it is young."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings an evaluation needs, and who we are."""

    limits: AdmissionSection
    standing: StandingTerms
    """For anybody, as published."""
    mediators: tuple[Address, ...]
    provider: Address
    market: MarketPlace
    spender: Address | None
    """Who pulls our collateral by allowance; None where the market takes it straight from the balance."""
    data_dir: Path
    estimate: Callable[[JobSpec], Estimate]
    """How long a job takes here."""
    own_prices: Mapping[str, PriceList] = field(default_factory=dict)
    """Of modules that have prices of their own, by canonical name."""
    known_multiple: int | None = None
    """Results collateral multiple proposed to accounts that have paid us; None: as for anybody."""
    job_bytes: Callable[[int], int] = lambda _stills: 0
    """What a job with so many stills may take of the disk."""
    store_problem: Callable[[], str | None] = lambda: None
    """Why the results that must be kept leave no room within the operator's quota, or None."""
    unserved: Callable[[str], str | None] = lambda _module: None
    """Why a module is not computed with this node's models, or None if it is."""
    proposes: bool = True
    takes_hires: bool = True
    withdrawn: Callable[[], str | None] = lambda: None
    """Why the published offer was taken back, None while it stands."""


async def _no_rival(_job: Job) -> str | None:
    return None


class Admission:
    """Carries out EVALUATE."""

    def __init__(
        self,
        chain: ChainFacts,
        token: MarketFacts,
        exposure: Callable[[Address], Exposure],
        settings: Terms,
        promise: Callable[[Job], None],
        records: Records,
        rival: Callable[[Job], Awaitable[str | None]] = _no_rival,
    ) -> None:
        self._chain = chain
        self._token = token
        self._exposure = exposure
        self._promise = promise
        self._settings = settings
        self._records = records
        self._rival = rival
        self._log = structlog.get_logger()

    async def evaluate(self, job: Job, effect: Effect) -> JobEvent | None:
        """Return Admitted with the terms to propose or to agree to, Declined, or None if it is decided.

        A yes is promised at once, so that evaluations side by side never promise the same money twice.
        Raises NotNow where waiting could help, and Unreachable while the chain does not answer.
        """
        if job.phase is not Phase.SEEN:
            return None
        if not (job.hired or self._settings.proposes):
            return Declined(
                "this node proposes to nobody (market.matching): it can be hired directly", "matching"
            )
        rival = await self._rival(job)
        if rival is not None:
            return Declined(rival, "rival")
        record = await self._records.record_of(job.offer.requester)
        unwelcome = counterparties.unwelcome(job.offer.requester, record, self._settings.limits)
        if unwelcome is not None:
            return Declined(unwelcome.reason, unwelcome.rule)
        # Nothing is awaited behind the facts: what is promised meanwhile would weigh on nothing.
        closes_at, escrow_wei = await self._hire(job.terms) if job.hired else (0, Wei(0))
        standing = self._standing(job, record)
        facts = await self._facts(job, standing)
        hire = self._hire_facts(job, facts, closes_at, escrow_wei) if job.hired else None
        refusal = self._refusal(facts, record, hire)
        if refusal is not None and refusal.final:
            return Declined(refusal.reason, refusal.rule)
        if refusal is not None:
            self._log.info("offer_waits", job_id=job.job_id, effect=effect.effect_id, reason=refusal.reason)
            raise NotNow(refusal.reason)
        deal = job.terms if job.hired else self._deal(job, standing)
        self._promise(job.to(Phase.AGREEING if job.hired else Phase.PROPOSING, deal=deal))
        posted_at = job.offer.posted_at
        return Admitted(deal, hire.closes_at if hire else posted_at + self._settings.limits.max_offer_age_s)

    async def _hire(self, deal: Deal) -> tuple[int, Wei]:
        agreement, escrow_wei = await asyncio.gather(
            self._token.get_agreement(deal.deal_id), self._token.escrow_behind(deal)
        )
        if not agreement.deal_created_at:
            raise NotYet(f"the block in which deal {deal.deal_id} was created is gone for now")
        return agreement.deal_created_at + deal.timeouts.agree.timeout_s, escrow_wei

    def _hire_facts(self, job: Job, facts: Facts, closes_at: int, escrow_wei: Wei) -> HireFacts:
        settings = self._settings
        return HireFacts(
            deal=job.terms,
            expected=self._deal(job, self._published(job)),
            mediators=settings.mediators,
            escrow_wei=Wei(max(0, escrow_wei - self._exposure(job.terms.members.job_creator).owed_wei)),
            chain_time=facts.chain_time,
            closes_at=closes_at,
            takes_hires=settings.takes_hires,
            withdrawn=settings.withdrawn(),
        )

    def _refusal(self, facts: Facts, record: PaymentRecord, hire: HireFacts | None) -> Refusal | None:
        limits = self._settings.limits
        exposure = self._exposure(facts.requester)
        standing = Standing(
            requester=facts.requester,
            record=record,
            unpaid_deals=exposure.unpaid_deals,
            unpaid_wei=exposure.unpaid_wei,
            price_wei=facts.price_wei,
        )
        first = hire_verdict(hire, facts, limits) if hire else verdict(facts, limits)
        found = [
            *([first] if first else []),
            *counterparties.refusals(standing, limits),
            *costs.refusals(facts, limits),
        ]
        return foremost(found)

    async def _facts(self, job: Job, standing: StandingTerms) -> Facts:
        settings = self._settings
        requester = job.offer.requester
        head, posting, gas_left, fees = await asyncio.gather(
            self._chain.head(),
            self._chain.transaction(job.offer.tx_hash),
            self._chain.balance(settings.provider),
            self._chain.fees(),
        )
        theirs, ours, allowance, token_paused = await asyncio.gather(
            self._token.token_balance(requester),
            self._token.token_balance(settings.provider),
            self._allowance(),
            self._token.token_paused(),
        )
        price = price_wei(job.offer.spec, standing.prices)
        exposure = self._exposure(requester)
        return Facts(
            chain_time=head.timestamp,
            posted_at=job.offer.posted_at,
            sender=posting.sender if posting else None,
            requester=requester,
            provider=settings.provider,
            price_wei=price,
            timeout_collateral_wei=standing.timeout_collateral_wei,
            results_collateral_wei=Wei(price * standing.results_collateral_multiple),
            requester_tokens_wei=theirs,
            our_tokens_wei=ours,
            our_allowance_wei=allowance,
            our_gas_wei=gas_left,
            gas_price_wei=Wei(fees.base_fee_wei + fees.tip_wei),
            committed_wei=exposure.committed_wei,
            pulls_wei=exposure.pulls_wei,
            token_paused=token_paused,
            open_proposals=exposure.open_proposals,
            bid_gas=exposure.bid_gas,
            open_deals=exposure.open_deals,
            open_proposals_of_requester=exposure.open_proposals_of_requester,
            mediators=settings.mediators,
            worker_problem=exposure.worker_problem,
            paused=exposure.paused,
            jobs_ahead=exposure.jobs_ahead,
            estimate=settings.estimate(job.offer.spec),
            ahead_s=exposure.ahead_s,
            slots=exposure.slots,
            submit_timeout_s=standing.submit_timeout_s,
            disk=data_room(settings.data_dir),
            job_bytes=settings.job_bytes(job.offer.spec.batching),
            store_problem=settings.store_problem(),
            unserved=settings.unserved(job.offer.spec.module),
        )

    async def _allowance(self) -> Wei | None:
        if self._settings.spender is None:
            return None
        return await self._token.token_allowance(self._settings.provider, self._settings.spender)

    def _standing(self, job: Job, record: PaymentRecord) -> StandingTerms:
        """Return the terms for this account: a hire is made on the published ones, whoever makes it."""
        published, multiple = self._published(job), self._settings.known_multiple
        if job.hired or record.unknown or multiple is None:
            return published
        return replace(published, results_collateral_multiple=multiple)

    def _published(self, job: Job) -> StandingTerms:
        return terms_of(job.offer.spec.module, self._settings.standing, self._settings.own_prices)

    def _deal(self, job: Job, standing: StandingTerms) -> Deal:
        settings = self._settings
        return deal_for(
            job.offer.spec,
            standing,
            market=settings.market,
            job_number=job.offer.number,
            requester=job.offer.requester,
            provider=settings.provider,
            mediators=settings.mediators,
            salt=SALTS[job.salt - 1],
        )
