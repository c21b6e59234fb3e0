"""A provider's offer on a real chain: published, kept fresh, withdrawn, never made where it may not be."""

import asyncio
import json

import pytest
import pytest_asyncio

from node.admission.pricing import standing_terms
from node.app.announce import CHECK_SOON_S, PIN, PUBLISH, SHOW, WITHDRAW, Announcer, NotPublished
from node.app.offering import Offering
from node.app.serving import Serving
from node.app.timing import Prices
from node.chain.devnet import MEDIATOR, PROVIDER, dev_signer
from node.chain.messages import message_signer
from node.chain.txmanager import TxIntent, TxManager
from node.clock import SystemClock
from node.config import load
from node.errors import RefusedByPolicy
from node.job.deal import ServiceType
from node.job.offer_document import read_offer
from node.journal.database import Database
from node.journal.marks import Marks
from node.publisher.blockstore import BlockStore
from node.publisher.publish import Publisher
from node.types import Cid
from tests.fakes.clock import FakeClock
from tests.fakes.tx_store import MemoryTxStore
from tests.integration.requester.conftest import TX_SETTINGS

pytestmark = [pytest.mark.integration]
URL = "https://provider.example"
SIGNER = dev_signer(PROVIDER)
TOKEN = 10**18


class Desk:
    """One provider's registry, chain and store, from which announcers are made as often as a node starts."""

    def __init__(self, devnet, tmp_path) -> None:
        self.devnet = devnet
        self.tmp_path = tmp_path
        self.store = MemoryTxStore()
        self.publisher = Publisher(BlockStore(tmp_path / "ipfs", floor_bytes=0))
        self.database = Database(tmp_path)
        self.ready = True
        self.shortage = None

    def announcer(self, clock=None, update=lambda **_: None, **sections) -> Announcer:
        settings = {
            "market": {"mediators": [dev_signer(MEDIATOR).address], "allow_toy_models": True},
            "worker": {"profile": "fake"},
            "http": {"public_url": URL},
        }
        for section, values in sections.items():
            settings[section] = settings.get(section, {}) | values
        config = load(environment={}, overrides=settings)
        clock = clock or SystemClock()
        return Announcer(
            Offering(
                config=config,
                serving=Serving(config.worker.profile, self.tmp_path),
                place=self.devnet.contracts.place,
                provider=SIGNER.address,
                prices=Prices(standing_terms(config.pricing, config.deal), {}),
                determinism_class=lambda: "fake" if self.ready else None,
                ready=lambda: self.ready,
                shortage=lambda: self.shortage,
            ),
            chain=self.devnet.chain,
            contracts=self.devnet.contracts,
            transactions=TxManager(
                self.devnet.chain,
                SIGNER,
                self.store,
                settings=TX_SETTINGS,
                clock=SystemClock(),
                chain_id=self.devnet.chain_id,
            ),
            signer=SIGNER,
            publisher=self.publisher,
            marks=Marks(self.database, clock),
            clock=clock,
            update=update,
        )

    async def nonce(self) -> int:
        return await self.devnet.chain.nonce(SIGNER.address)

    async def recorded(self):
        user = await self.devnet.contracts.get_user(SIGNER.address)
        listed = await self.devnet.contracts.show_users_in_list(ServiceType.RESOURCE_PROVIDER)
        return (user.url, user.metadata_cid, SIGNER.address in listed) if user else None

    async def document(self):
        _, cid, _ = await self.recorded()
        return read_offer(await self.publisher.read_file(Cid(cid)))


@pytest_asyncio.fixture
async def desk(devnet, tmp_path):
    await devnet.fund(SIGNER.address, ether_wei=10**18)
    desk = Desk(devnet, tmp_path)
    yield desk
    desk.database.close()


async def test_the_signed_terms_are_published_once_and_renewed_before_they_are_over(desk):
    announcer = desk.announcer()
    begun = await desk.devnet.chain.head()
    await announcer.refresh()
    document, text, signature = await desk.document()
    assert message_signer(text, signature) == SIGNER.address
    assert (document.provider, document.chain_id) == (SIGNER.address, desk.devnet.chain_id)
    assert document.terms.prices.per_job_wei == TOKEN
    head = await desk.devnet.chain.head()
    assert begun.timestamp <= document.valid_until - 86_400 <= head.timestamp
    url, cid, listed = await desk.recorded()
    assert (url, listed) == (URL, True)
    assert await desk.publisher.pins() == {PIN: cid}

    sent = await desk.nonce()
    await announcer.refresh()
    await desk.announcer().refresh()
    assert await desk.nonce() == sent

    await desk.devnet.rpc.call("evm_increaseTime", [60_000])
    await desk.devnet.mine()
    await announcer.refresh()
    renewed, _, _ = await desk.document()
    assert renewed.valid_until - document.valid_until >= 60_000
    assert await desk.nonce() == sent + 1


async def test_other_prices_modules_or_mediators_are_published_at_the_next_start(desk):
    await desk.announcer().refresh()
    for change in (
        {"pricing": {"per_job": "2"}},
        {"market": {"modules": ["sdv-pipeline:v1.0-lilypad2"]}},
        {"market": {"mediators": [dev_signer(0).address]}},
    ):
        before = await desk.recorded()
        await desk.announcer(**change).refresh()
        assert (await desk.recorded())[1] != before[1]
    document, _, _ = await desk.document()
    assert document.mediators == (dev_signer(0).address,)


async def test_a_withdrawn_offer_stays_withdrawn_across_restarts_until_it_is_published_again(desk):
    announcer = desk.announcer()
    await announcer.refresh()
    told = await announcer.verbs()[WITHDRAW]({})
    assert told["state"] == "withdrawn"
    assert await desk.recorded() == (URL, "", False)

    restarted = desk.announcer()
    await restarted.restore()
    assert restarted.withdrawn
    sent = await desk.nonce()
    await restarted.refresh()
    assert await desk.nonce() == sent
    assert (await restarted.verbs()[SHOW]({}))["state"] == "withdrawn"

    told = await restarted.verbs()[PUBLISH]({})
    assert (told["state"], told["reason"]) == ("published", None)
    assert json.loads(told["document"])["resource_provider"] == SIGNER.address
    assert restarted.withdrawn is None
    assert (await desk.recorded())[2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"market": {"allow_toy_models": False}}, "toy models"),
        ({"worker": {"profile": "sdv-1.1"}}, "not complete"),
        ({"market": {"mediators": []}}, "market.mediators"),
        ({"http": {"public_url": ""}}, "http.public_url"),
    ],
)
async def test_a_node_that_may_not_take_jobs_publishes_nothing_and_says_why(desk, change, reason):
    announcer = desk.announcer(**change)
    await announcer.refresh()
    assert await desk.nonce() == 0
    told = await announcer.verbs()[SHOW]({})
    assert told["state"] == "none"
    assert reason in told["reason"]
    with pytest.raises(NotPublished, match=reason):
        await announcer.verbs()[PUBLISH]({})


async def test_an_offer_that_may_not_stand_any_more_is_taken_back(desk):
    await desk.announcer().refresh()
    await desk.announcer(market={"allow_toy_models": False}).refresh()
    assert await desk.recorded() == (URL, "", False)


async def test_an_offer_is_taken_back_while_room_is_lacking_and_its_address_stays(desk):
    announcer = desk.announcer()
    await announcer.refresh()
    assert (await desk.recorded())[2]
    desk.shortage = "no room for another job"
    await announcer.refresh()
    assert await desk.recorded() == (URL, "", False)
    assert (await announcer.verbs()[SHOW]({}))["reason"] == "no room for another job"
    desk.shortage = None
    await announcer.refresh()
    url, again, listed = await desk.recorded()
    assert (url, bool(again), listed) == (URL, True, True)


async def test_an_offer_that_was_taken_back_by_half_is_taken_back_whole(desk):
    await desk.announcer().refresh()
    stopped = desk.announcer(market={"allow_toy_models": False})
    empty = desk.devnet.contracts.update_user("", URL, (ServiceType.RESOURCE_PROVIDER,))
    await stopped._transactions.send(TxIntent("the half that was mined before the node was killed", empty))
    assert await desk.recorded() == (URL, "", True)
    await desk.announcer(market={"allow_toy_models": False}).refresh()
    assert await desk.recorded() == (URL, "", False)


async def test_a_node_that_only_proposes_records_its_address_alone(desk):
    await desk.announcer(market={"matching": "propose"}).refresh()
    assert await desk.recorded() == (URL, "", False)


async def test_nobody_is_to_be_hired_before_the_models_are_loaded(desk):
    announcer = desk.announcer()
    desk.ready = False
    await announcer.refresh()
    assert await desk.recorded() == (URL, "", False)
    desk.ready = True
    await announcer.refresh()
    before = await desk.recorded()
    assert before[1]
    desk.ready = False  # the worker is replaced: no reason to take the offer back
    await desk.announcer().refresh()
    assert await desk.recorded() == before


async def test_models_that_get_ready_while_the_address_is_recorded_are_offered_at_once(desk):
    clock, said_at, published = FakeClock(), {}, asyncio.Event()
    desk.ready = False

    def update(offer) -> None:
        said_at[offer["state"]] = clock.monotonic()
        if offer["state"] == "waiting":
            desk.ready = True
        else:
            published.set()

    running = asyncio.create_task(desk.announcer(clock, update).run())
    await asyncio.wait_for(published.wait(), 30)
    running.cancel()
    assert said_at["published"] - said_at["waiting"] == CHECK_SOON_S


async def test_a_signer_that_refuses_the_offer_does_not_end_the_node(desk):
    asked = asyncio.Semaphore(0)

    class Refusing:
        address = SIGNER.address

        async def sign_message(self, message):
            asked.release()
            raise RefusedByPolicy("the signer signs no messages")

    announcer = desk.announcer(FakeClock())
    announcer._signer = Refusing()
    running = asyncio.create_task(announcer.run())
    for _ in range(3):
        await asyncio.wait_for(asked.acquire(), 30)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
    assert await desk.recorded() is None
