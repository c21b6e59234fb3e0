"""Published offers: found in the registry, fetched from their providers, and believed only after every check.

Anybody can be listed, name any address and publish anything: what is looked at is bounded in number, size and
time, and a document counts only with its provider's signature, for this market, while it is fresh.
"""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from node.chain.client import Chain
from node.chain.contracts import MarketContracts, Unreadable
from node.chain.messages import message_signer
from node.destinations import Reach
from node.errors import NodeError, Retryable
from node.job.deal import Deal, MarketPlace, ServiceType
from node.job.offer_document import MAX_BYTES, InvalidOffer, OfferDocument, read_offer
from node.job.spec import JobSpec
from node.job.terms import SALTS, deal_for, price_wei
from node.requester.proposals import Limits, Request, locked_wei, term_objections
from node.requester.provider import BadProviderUrl, gateway_url
from node.requester.steps import OfferFound, OfferIgnored, OnStep, printable
from node.requester.track_record import TrackRecord
from node.types import Address, Wei

MAX_LOOKED_AT = 256
"""Of a longer list a random part is looked at, so that nobody can push others out by filling it."""
AT_ONCE = 16
TOTAL_S = 10.0
ONE_S = 6.0


class NoOffer(NodeError):
    """A provider cannot be hired now; the text says why."""


class Documents(Protocol):
    """The IPFS side: small files by CID."""

    async def fetch_file(self, gateway: str, cid: str, limit_bytes: int) -> bytes:
        """Return a file of one block, verified. Raises Retryable if it is not to be had, else NodeError."""
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """A checked offer and what it comes to for our job."""

    provider: Address
    document: OfferDocument
    price_wei: Wei
    locked_wei: Wei
    record: TrackRecord | None = None


def hire_deal(
    document: OfferDocument, spec: JobSpec, request: Request, limits: Limits, salt: str = SALTS[0]
) -> Deal:
    """Return the deal that hires a provider for a job on exactly its terms, judged by mediators we accept."""
    mediators = document.mediators
    if limits.mediators is not None:
        mediators = tuple(mediator for mediator in mediators if mediator in limits.mediators)
    return deal_for(
        spec,
        document.terms,
        market=request.market,
        job_number=request.job_number,
        requester=request.job_creator,
        provider=document.provider,
        mediators=mediators,
        salt=salt,
    )


def ranked(offers: Iterable[Offer]) -> list[Offer]:
    """Return the offers, cheapest first; among equals the better record, then what locks less."""

    def rank(offer: Offer) -> tuple[int, float, int, int, str]:
        record = offer.record or TrackRecord(0, 0)
        return offer.price_wei, -record.share, -record.accepted, offer.locked_wei, offer.provider

    return sorted(offers, key=rank)


class OfferReader:
    """Reads offers for one account. Every offer it returns may be hired on at this moment."""

    def __init__(
        self,
        *,
        chain: Chain,
        contracts: MarketContracts,
        documents: Documents,
        requester: Address,
        limits: Limits,
        reach: Reach,
        on_step: OnStep,
    ) -> None:
        self._chain = chain
        self._contracts = contracts
        self._documents = documents
        self._requester = requester
        self._limits = limits
        self._reach = reach
        self._on_step = on_step
        self.ignored: tuple[OfferIgnored, ...] = ()
        """The providers that ``all`` looked at last and whose offers cannot be hired on."""

    async def of(self, provider: Address, spec: JobSpec, max_price_wei: Wei) -> Offer:
        """Return a provider's offer for this job. Raises NoOffer, and Unreachable if the chain is silent."""
        try:
            user = await self._contracts.get_user(provider)
        except Unreadable as error:
            raise NoOffer(printable(str(error))) from error
        if user is None or not user.metadata_cid:
            raise NoOffer("it has published no offer")
        try:
            gateway = gateway_url(user.url, self._reach)
            async with asyncio.timeout(ONE_S):
                data = await self._documents.fetch_file(gateway, user.metadata_cid, MAX_BYTES)
        except BadProviderUrl as error:
            raise NoOffer(str(error)) from error
        except TimeoutError as error:
            raise NoOffer(f"its offer did not arrive within {ONE_S:g} s") from error
        except NodeError as error:
            raise NoOffer(f"its offer cannot be had: {printable(str(error), 200)}") from error
        head = await self._chain.head()
        return self._checked(provider, data, spec, max_price_wei, head.timestamp)

    async def all(
        self,
        spec: JobSpec,
        max_price_wei: Wei,
        *,
        without: Iterable[Address],
        track_records: Mapping[Address, TrackRecord],
    ) -> list[Offer]:
        """Return the offers for this job, best first, and tell of every one that is looked at."""
        passed_over = {self._requester, *without}
        listed = await self._contracts.show_users_in_list(ServiceType.RESOURCE_PROVIDER)
        providers = [provider for provider in dict.fromkeys(listed) if provider not in passed_over]
        if len(providers) > MAX_LOOKED_AT:
            providers = secrets.SystemRandom().sample(providers, MAX_LOOKED_AT)
        turns = asyncio.Semaphore(AT_ONCE)

        async def read(provider: Address) -> Offer:
            async with turns:
                return await self.of(provider, spec, max_price_wei)

        reading = {asyncio.create_task(read(provider)): provider for provider in providers}
        found = []
        self.ignored = ()
        try:
            if reading:
                await asyncio.wait(reading, timeout=TOTAL_S)
            for task, provider in reading.items():
                offer = self._taken(task, provider, track_records.get(provider))
                if offer is not None:
                    found.append(offer)
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
        best = ranked(found)
        for offer in best:
            self._on_step(OfferFound(offer.provider, offer.price_wei, offer.locked_wei, offer.record))
        return best

    def _taken(
        self, task: "asyncio.Task[Offer]", provider: Address, record: TrackRecord | None
    ) -> Offer | None:
        if not task.done():
            self._ignore(provider, f"its offer did not arrive within {TOTAL_S:g} s")
            return None
        error = task.exception()
        if error is None:
            return replace(task.result(), record=record)
        if isinstance(error, Retryable | NoOffer):
            self._ignore(provider, printable(str(error), 200))
            return None
        raise error

    def _ignore(self, provider: Address, reason: str) -> None:
        step = OfferIgnored(provider, reason)
        self.ignored += (step,)
        self._on_step(step)

    def _checked(self, provider: Address, data: bytes, spec: JobSpec, max_price_wei: Wei, now: int) -> Offer:
        try:
            document, text, signature = read_offer(data)
        except InvalidOffer as error:
            raise NoOffer(printable(str(error))) from error
        if message_signer(text, signature) != provider or document.provider != provider:
            raise NoOffer("its offer is not signed by its own key")
        place = self._contracts.place
        if (document.chain_id, document.controller) != (place.chain_id, place.controller):
            raise NoOffer("its offer is for another market")
        if document.valid_until <= now:
            raise NoOffer(f"its offer was good until {now - document.valid_until} s ago")
        if not document.serves(spec.module):
            raise NoOffer(f"it does not offer {spec.module}")
        deal = hire_deal(document, spec, self._request(place), self._limits)
        limits = replace(self._limits, max_price_wei=max_price_wei)
        objections = list(term_objections(deal, self._request(place), limits))
        if objections:
            raise NoOffer("; ".join(objections))
        return Offer(provider, document, price_wei(spec, document.terms.prices), locked_wei(deal))

    def _request(self, place: MarketPlace) -> Request:
        return Request(place, 0, self._requester)
