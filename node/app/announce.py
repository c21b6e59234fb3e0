"""Telling the market where this node is and on which terms it can be hired: its record in ``Users``.

The record names the public address and the CID of the signed offer document, which the node's own gateway
serves. A withdrawn offer stays withdrawn, across restarts, until the operator publishes it again.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from node.app.control import Arguments, Verb
from node.app.offer_record import PROVIDER, OfferRecord
from node.app.offering import Offering
from node.app.timing import Prices
from node.chain.client import Call, Chain
from node.chain.contracts import MarketContracts, User
from node.chain.signer import MessageSigner
from node.chain.txmanager import Failed, TxIntent, TxManager
from node.clock import Clock
from node.config import Config
from node.errors import Fatal, NodeError, RefusedByPolicy, Retryable
from node.job.offer_document import signed_text, unsigned_text
from node.journal.marks import OFFER_WITHDRAWN, Marks
from node.publisher.publish import Publisher
from node.types import Cid, JobId

PREFIX = "announce"
PIN = JobId("offer-document")
CHECK_EVERY_S = 60.0
CHECK_SOON_S = 1.0
SHOW, PUBLISH, WITHDRAW = "offer.show", "offer.publish", "offer.withdraw"
NO_OFFER = Cid("")


class NotPublished(NodeError):
    """The operator asked for an offer that this node may not make."""


class Announcer:
    """Keeps the record in the registry as it should be. ``update`` hears of every change of it."""

    def __init__(
        self,
        offering: Offering,
        *,
        chain: Chain,
        contracts: MarketContracts,
        transactions: TxManager,
        signer: MessageSigner,
        publisher: Publisher,
        marks: Marks,
        clock: Clock,
        update: Callable[..., None] = lambda **_: None,
    ) -> None:
        self._offering = offering
        self._chain = chain
        self._contracts = contracts
        self._transactions = transactions
        self._signer = signer
        self._publisher = publisher
        self._marks = marks
        self._clock = clock
        self._update = update
        self._registry = OfferRecord(
            offering, chain=chain, contracts=contracts, publisher=publisher, marks=marks
        )
        self._turn = asyncio.Lock()
        self._decided = asyncio.Event()
        self._listed: bool | None = None
        self._told: dict[str, Any] | None = None
        self._log = structlog.get_logger()
        self.withdrawn: str | None = None

    def verbs(self) -> Mapping[str, Verb]:
        """Return the commands by name."""
        return {SHOW: self._show, PUBLISH: self._publish, WITHDRAW: self._withdraw}

    async def restore(self) -> None:
        """Take over what the operator decided before this start."""
        self.withdrawn = await self._marks.get(OFFER_WITHDRAWN)

    async def run(self) -> None:
        """Publish, renew and correct until cancelled; trouble is said and tried again."""
        pause_s = CHECK_SOON_S
        while True:
            # The models may get ready while the address is on its way to the chain.
            was_ready = self._offering.ready()
            try:
                await self.refresh()
                pause_s = CHECK_EVERY_S if was_ready and self._offering.ready() else CHECK_SOON_S
            except Fatal:
                raise
            except NodeError as problem:
                # A refusal of the signer, too: a node without an offer still finishes its deals.
                self._log.warning("offer_not_announced", problem=str(problem))
                pause_s = min(2 * pause_s, CHECK_EVERY_S)
            if await self._pause(pause_s):
                pause_s = CHECK_SOON_S

    def take_over(self, config: Config, prices: Prices) -> None:
        """Offer by changed settings and prices from now on."""
        self._offering = replace(self._offering, config=config, prices=prices)
        self._registry.take_over(self._offering)

    def look_again(self) -> None:
        """Have ``run`` correct the registry now: what is to be offered was decided anew."""
        self._decided.set()

    async def _pause(self, seconds: float) -> bool:
        """Wait, and return whether ``look_again`` ended it early."""
        waits = (
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._decided.wait()),
        )
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        decided = self._decided.is_set()
        self._decided.clear()
        return decided

    async def refresh(self) -> None:
        """Bring the registry to what it should say.

        Raises Retryable if the contract refused or the chain did not answer.
        """
        async with self._turn:
            if any(intent_id.startswith(PREFIX) for intent_id in self._transactions.pending()):
                raise Retryable("an earlier announcement is still on its way")
            user = await self._registry.user()
            obstacle = await self._registry.obstacle()
            if obstacle is None:
                await self._offer(user)
            elif self._offering.problem() is None:
                # Not to be hired, but it may propose: requesters need the address to fetch results from.
                await self._record(user, NO_OFFER)
                await self._list(listed=False)
                self._tell(*obstacle, NO_OFFER)
            else:
                await self._take_back(user)
                self._tell(*obstacle, NO_OFFER)

    async def _offer(self, user: User | None) -> None:
        now = (await self._chain.head()).timestamp
        document = await self._registry.document(user)
        cid = Cid(user.metadata_cid) if user is not None and document is not None else NO_OFFER
        good = document is not None and await asyncio.to_thread(self._offering.still_good, document, now)
        if not good and (reason := self._offering.waits()) is not None:
            # Nobody is to be hired before a job could begin; the address is of use already.
            await self._record(user, cid)
            self._tell("waiting", reason, cid)
            return
        if not good:
            fresh = await asyncio.to_thread(self._offering.document, now, document)
            signature = await self._signer.sign_message(unsigned_text(fresh))
            cid = await self._publisher.publish_file(PIN, signed_text(fresh, signature))
        await self._record(user, cid)
        await self._list(listed=True)
        self._tell("published", None, cid)

    async def _record(self, user: User | None, cid: Cid) -> None:
        url = self._offering.public_url
        if user is not None and (user.url, user.metadata_cid) == (url, cid) and PROVIDER in user.roles:
            return
        await self._send("user", f"{url} {cid}", self._contracts.update_user(cid, url, (PROVIDER,)))

    async def _take_back(self, user: User | None) -> None:
        """Remove what the registry says of an offer that may not be made any more; nothing new is told."""
        if user is not None and user.metadata_cid:
            await self._send("user", user.url, self._contracts.update_user("", user.url, (PROVIDER,)))
        await self._list(listed=False)

    async def _list(self, *, listed: bool) -> None:
        # Nobody else can change our place in the list, which can be long: it is looked up once.
        if self._listed is None:
            self._listed = await self._registry.listed()
        if self._listed == listed:
            return
        contracts = self._contracts
        call = contracts.add_user_to_list(PROVIDER) if listed else contracts.remove_user_from_list(PROVIDER)
        await self._send("list", str(listed), call)
        self._listed = listed

    async def _send(self, kind: str, content: str, call: Call) -> None:
        # The block number makes a later return to an earlier record an intent of its own.
        head = await self._chain.head()
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        outcome = await self._transactions.send(TxIntent(f"{PREFIX}:{kind}:{digest}:{head.number}", call))
        if isinstance(outcome, Failed):
            raise Retryable(f"the registry refused the announcement: {outcome.reason}")

    def _tell(self, state: str, reason: str | None, cid: Cid) -> None:
        told = {"state": state, "reason": reason, "cid": cid or None}
        if told != self._told:
            self._told = told
            self._log.info("offer_state", **told)
            self._update(offer=told)

    async def _show(self, _: Arguments) -> dict[str, Any]:
        return await self._registry.look()

    async def _publish(self, _: Arguments) -> dict[str, Any]:
        if (problem := self._offering.problem()) is not None:
            raise NotPublished(f"nothing is published: {problem}")
        if not self._offering.config.market.takes_hires:
            raise RefusedByPolicy("market.matching is propose: set it to both or hire, then publish")
        await self._marks.clear(OFFER_WITHDRAWN)
        self.withdrawn = None
        await self.refresh()
        return await self._registry.look()

    async def _withdraw(self, _: Arguments) -> dict[str, Any]:
        # Remembered first: a node that is killed before its transactions are mined ends this at its start.
        self.withdrawn = "by the operator; sdv-node offer publish makes it stand again"
        await self._marks.put(OFFER_WITHDRAWN, self.withdrawn)
        await self.refresh()
        return await self._registry.look()
