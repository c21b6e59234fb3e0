"""Hiring a provider on its published offer: which offers there are, and agreeing first on exactly its terms.

The deal is the one the provider itself would propose, with the same id: if it proposed meanwhile, agreeing
completes its proposal. A provider that stays silent costs time; the market gives everything back.
"""

from functools import partial

from node.chain.client import Chain
from node.chain.contracts import MarketContracts, Unreadable
from node.errors import NodeError
from node.job.amounts import tokens
from node.job.deal import AgreementState, Deal
from node.job.spec import JobSpec
from node.job.terms import SALTS
from node.requester.agreeing import Agreeing
from node.requester.offers import NoOffer, Offer, OfferReader, hire_deal
from node.requester.patience import Patience
from node.requester.proposals import Limits, Request
from node.requester.runs import Run
from node.requester.steps import Chosen, OfferFound, OfferIgnored, OnStep, reasons
from node.requester.track_record import TrackRecords
from node.types import Address, Wei


class CannotHire(NodeError):
    """The provider that was named cannot be hired for this job. Nothing was sent."""


class NoOfferToHire(NodeError):
    """Nobody offers to do the job within the limits. Nothing was sent."""

    exit_code = 75


class Hiring:
    """The direct way to a deal, for one account."""

    def __init__(
        self,
        *,
        address: Address,
        chain: Chain,
        contracts: MarketContracts,
        reader: OfferReader,
        agreeing: Agreeing,
        track_records: TrackRecords,
        limits: Limits,
        patience: Patience,
        on_step: OnStep,
    ) -> None:
        self._address = address
        self._chain = chain
        self._contracts = contracts
        self._reader = reader
        self._agreeing = agreeing
        self._track_records = track_records
        self._limits = limits
        self._patience = patience
        self._on_step = on_step

    async def named(self, provider: Address, spec: JobSpec, max_price_wei: Wei) -> Offer:
        """Return the offer of the provider that was asked for. Raises CannotHire."""
        try:
            offer = await self._patience.ask(lambda: self._reader.of(provider, spec, max_price_wei))
        except NoOffer as error:
            raise CannotHire(f"{provider} cannot be hired: {error}") from error
        deal = hire_deal(offer.document, spec, self._request(0), self._limits)
        if (shortage := await self._agreeing.shortage(deal)) is not None:
            raise CannotHire(f"{provider} cannot be hired: {shortage}")
        self._on_step(OfferFound(provider, offer.price_wei, offer.locked_wei))
        return offer

    async def candidates(self, run: Run, spec: JobSpec) -> list[Offer]:
        """Return the offers that may be hired on, best first.

        Raises NoOfferToHire if there are none and the run is to be done by a hire.
        """
        track_records = await self._track_records.read()
        limit = Wei(run.max_price_wei)
        found = await self._patience.ask(
            lambda: self._reader.all(spec, limit, without=run.passed_over, track_records=track_records)
        )
        if not found and run.matching == "hire":
            named = f" ({reasons(self.ignored)}): see to what is named," if self.ignored else ":"
            raise NoOfferToHire(
                f"no provider offers to do the job for at most {tokens(limit)} tokens{named} raise "
                "--max-price, or try again without --hire to wait for proposals"
            )
        return found

    @property
    def ignored(self) -> tuple[OfferIgnored, ...]:
        """The offers that could not be hired on when ``candidates`` looked last."""
        return self._reader.ignored

    async def hire(self, run: Run, spec: JobSpec, offer: Offer, out_of: int) -> Deal | str:
        """Agree first, on a provider's terms as published now. Returns the deal, or why there is none."""
        price_limit = Wei(run.max_price_wei)
        try:
            fresh = await self._patience.ask(lambda: self._reader.of(offer.provider, spec, price_limit))
        except NoOffer as error:
            return str(error)
        deal = await self._free_deal(run, spec, fresh)
        if deal is None:
            return "every id for a deal with it is taken by somebody else"
        self._on_step(Chosen(deal.deal_id, offer.provider, fresh.price_wei, out_of))
        reason = await self._agreeing.take(run, deal, first=True)
        return deal if reason is None else reason

    def ignore(self, offer: Offer, reason: str) -> OfferIgnored:
        """Tell of an offer that could not be taken after all."""
        step = OfferIgnored(offer.provider, reason)
        self._on_step(step)
        return step

    async def _free_deal(self, run: Run, spec: JobSpec, offer: Offer) -> Deal | None:
        for salt in SALTS:
            deal = hire_deal(offer.document, spec, self._request(run.number), self._limits, salt)
            if await self._patience.ask(partial(self._can_be_agreed, deal)):
                return deal
        return None

    async def _can_be_agreed(self, deal: Deal) -> bool:
        """Whether nobody has the deal's id, or its provider proposed exactly this and still waits for us."""
        try:
            stored = await self._contracts.get_deal(deal.deal_id)
        except Unreadable:
            return False
        if stored is None:
            return True
        agreement = await self._contracts.get_agreement(deal.deal_id)
        head = await self._chain.head()
        return (
            stored == deal
            and agreement.state is AgreementState.DEAL_NEGOTIATING
            and not agreement.job_creator_agreed_at
            and head.timestamp < agreement.deal_created_at + deal.timeouts.agree.timeout_s
        )

    def _request(self, job_number: int) -> Request:
        return Request(self._contracts.place, job_number, self._address)
