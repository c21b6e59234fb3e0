"""Gathering the facts about one offer and turning the verdict into an event."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from node.admission.pricing import price_wei, terms
from node.admission.rules import Facts, verdict
from node.chain.client import Block, NetworkFees, Transaction
from node.config import AdmissionSection, DealSection, PricingSection
from node.errors import NotYet
from node.job.deal import Deal, MarketPlace, deal_id_for
from node.job.effects import Effect
from node.job.events import Admitted, Declined, JobEvent
from node.job.job import Job
from node.types import Address, TxHash, Wei

FIRST_SALT = "00000001"


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


class TokenFacts(Protocol):
    """Reads of the payment token; the chain's ``MarketContracts``."""

    async def token_balance(self, address: Address) -> Wei:
        """Return the balance."""
        ...

    async def token_allowance(self, owner: Address, spender: Address) -> Wei:
        """Return what the spender may take."""
        ...


@dataclass(frozen=True, slots=True)
class Exposure:
    """What this node has promised so far and how busy it is."""

    open_deals: int
    open_proposals_of_requester: int
    committed_wei: Wei
    jobs_ahead: int
    job_estimate_s: float
    worker_problem: str | None
    paused: bool


class NotNow(NotYet):
    """The offer cannot be taken at this moment; it is asked again while it is young."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings an evaluation needs, and who we are."""

    limits: AdmissionSection
    pricing: PricingSection
    deal: DealSection
    mediators: tuple[Address, ...]
    provider: Address
    market: MarketPlace
    payments: Address
    data_dir: Path
    unserved: Callable[[str], str | None] = lambda _module: None
    """Why a module is not computed with this node's models, or None if it is."""


class Admission:
    """Carries out EVALUATE."""

    def __init__(
        self, chain: ChainFacts, token: TokenFacts, exposure: Callable[[Address], Exposure], settings: Terms
    ) -> None:
        self._chain = chain
        self._token = token
        self._exposure = exposure
        self._settings = settings
        self._log = structlog.get_logger()

    async def evaluate(self, job: Job, effect: Effect) -> JobEvent:
        """Return Admitted with the terms to propose, or Declined with the reason.

        Raises NotNow where waiting could help, and Unreachable while the chain does not answer.
        """
        facts = await self._facts(job)
        refusal = verdict(facts, self._settings.limits)
        if refusal is not None and refusal.final:
            return Declined(refusal.reason)
        if refusal is not None:
            self._log.info("offer_waits", job_id=job.job_id, effect=effect.effect_id, reason=refusal.reason)
            raise NotNow(refusal.reason)
        return Admitted(
            self._deal(job, facts.price_wei), job.offer.posted_at + self._settings.limits.max_offer_age_s
        )

    async def _facts(self, job: Job) -> Facts:
        settings = self._settings
        requester = job.offer.requester
        head, posting, gas_left, fees = await asyncio.gather(
            self._chain.head(),
            self._chain.transaction(job.offer.tx_hash),
            self._chain.balance(settings.provider),
            self._chain.fees(),
        )
        theirs, ours, allowance = await asyncio.gather(
            self._token.token_balance(requester),
            self._token.token_balance(settings.provider),
            self._token.token_allowance(settings.provider, settings.payments),
        )
        price = price_wei(job.offer.spec, settings.pricing)
        exposure = self._exposure(requester)
        return Facts(
            chain_time=head.timestamp,
            posted_at=job.offer.posted_at,
            sender=posting.sender if posting else None,
            requester=requester,
            provider=settings.provider,
            price_wei=price,
            timeout_collateral_wei=settings.deal.timeout_collateral,
            results_collateral_wei=Wei(price * settings.deal.results_collateral_multiple),
            requester_tokens_wei=theirs,
            our_tokens_wei=ours,
            our_allowance_wei=allowance,
            our_gas_wei=gas_left,
            gas_price_wei=Wei(fees.base_fee_wei + fees.tip_wei),
            committed_wei=exposure.committed_wei,
            open_deals=exposure.open_deals,
            open_proposals_of_requester=exposure.open_proposals_of_requester,
            mediators=settings.mediators,
            worker_problem=exposure.worker_problem,
            paused=exposure.paused,
            jobs_ahead=exposure.jobs_ahead,
            job_estimate_s=exposure.job_estimate_s,
            submit_timeout_s=settings.deal.submit_timeout_s,
            free_disk_bytes=shutil.disk_usage(settings.data_dir).free,
            unserved=settings.unserved(job.offer.spec.module),
        )

    def _deal(self, job: Job, price: Wei) -> Deal:
        settings = self._settings
        parties = {job.offer.requester, settings.provider}
        members, timeouts, pricing = terms(
            price,
            pricing=settings.pricing,
            deal=settings.deal,
            job_manager=settings.market.job_manager,
            requester=job.offer.requester,
            provider=settings.provider,
            mediators=tuple(m for m in settings.mediators if m not in parties),
        )
        deal_id = deal_id_for(settings.market, job.offer.number, members, timeouts, pricing, FIRST_SALT)
        return Deal(deal_id, members, timeouts, pricing)
