"""What the registry says of this node, and whether that is still what it offers. Sends nothing."""

import asyncio
from typing import Any

from node.app.offering import Offering
from node.chain.client import Chain
from node.chain.contracts import MarketContracts, Unreadable, User
from node.job.deal import ServiceType
from node.job.offer_document import InvalidOffer, OfferDocument, read_offer
from node.journal.marks import DRAINING, OFFER_WITHDRAWN, Marks
from node.publisher.publish import Publisher
from node.types import Cid

PROVIDER = ServiceType.RESOURCE_PROVIDER


class OfferRecord:
    """The record of one provider in the ``Users`` contract, beside what it should be."""

    def __init__(
        self,
        offering: Offering,
        *,
        chain: Chain,
        contracts: MarketContracts,
        publisher: Publisher,
        marks: Marks,
    ) -> None:
        self._offering = offering
        self._chain = chain
        self._contracts = contracts
        self._publisher = publisher
        self._marks = marks

    def take_over(self, offering: Offering) -> None:
        """Compare with another offering from now on."""
        self._offering = offering

    async def user(self) -> User | None:
        """Return the record, None if there is none that can be read: such a one is replaced."""
        try:
            return await self._contracts.get_user(self._offering.provider)
        except Unreadable:
            return None

    async def listed(self) -> bool:
        """Return whether requesters find this node in the list of providers."""
        return self._offering.provider in await self._contracts.show_users_in_list(PROVIDER)

    async def document(self, user: User | None) -> OfferDocument | None:
        """Return the offer that the record names, if this node has it to serve."""
        if user is None or not user.metadata_cid:
            return None
        data = await self._publisher.read_file(Cid(user.metadata_cid))
        if data is None:
            return None
        try:
            return read_offer(data)[0]
        except InvalidOffer:
            return None

    async def obstacle(self) -> tuple[str, str] | None:
        """Return (state, reason) of a node that offers nothing, None if it has an offer to make."""
        problem = self._offering.problem()
        if problem is not None:
            return "none", problem
        withdrawn = await self._marks.get(OFFER_WITHDRAWN)
        if withdrawn is not None:
            return "withdrawn", withdrawn
        if await self._marks.get(DRAINING) is not None:
            return "draining", "the node is draining: sdv-node resume publishes the offer again"
        if not self._offering.config.market.takes_hires:
            return "none", "market.matching is propose: this node takes no direct hires"
        shortage = self._offering.shortage()
        if shortage is not None:
            return "none", shortage
        return None

    async def look(self) -> dict[str, Any]:
        """Return the state of the offer for people and programs."""
        head, user, obstacle = await asyncio.gather(self._chain.head(), self.user(), self.obstacle())
        document = await self.document(user)
        listed = await self.listed()
        state, reason = obstacle or ("published", None)
        if obstacle is None and (user is None or document is None or not listed):
            what = self._offering.waits()
            start = "it is not published yet: sdv-node start does that, or offer publish"
            state, reason = "pending", start if what is None else f"it is published after this: {what}"
        elif obstacle is None and document is not None and document.valid_until <= head.timestamp:
            state, reason = "stale", "its time is over: start the node, which renews it"
        cid = user.metadata_cid if user else ""
        data = await self._publisher.read_file(Cid(cid)) if cid else None
        return {
            "state": state,
            "reason": reason,
            "provider": self._offering.provider,
            "url": user.url if user else "",
            "listed": listed,
            "cid": cid or None,
            "valid_until": document.valid_until if document else None,
            "valid_for_s": max(0, document.valid_until - head.timestamp) if document else None,
            "document": data.decode() if data is not None else None,
        }
