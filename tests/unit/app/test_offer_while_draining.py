"""A draining node takes its offer back at once and lets it stand again when it is resumed."""

import asyncio
from types import SimpleNamespace

import pytest

from node.admission.pricing import standing_terms
from node.app.announce import PROVIDER as AS_PROVIDER
from node.app.announce import Announcer
from node.app.drain import DRAIN, RESUME, Drain
from node.app.offering import Offering
from node.app.serving import Serving
from node.app.timing import Prices
from node.chain.contracts import User
from node.job.deal import MarketPlace
from node.journal.marks import Marks
from node.publisher.blockstore import BlockStore
from node.publisher.publish import Publisher
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import MEDIATOR, POSTED_AT, PROVIDER, make_config

URL = "https://node.example"


class Registry:
    """The ``Users`` contract: each call is the change that it makes once it is sent."""

    def __init__(self):
        self.user = None
        self.listed = False

    async def get_user(self, _):
        return self.user

    async def show_users_in_list(self, _):
        return [PROVIDER] if self.listed else []

    def update_user(self, cid, url, roles):
        return lambda: setattr(self, "user", User(PROVIDER, cid, url, roles))

    def add_user_to_list(self, _):
        return lambda: setattr(self, "listed", True)

    def remove_user_from_list(self, _):
        return lambda: setattr(self, "listed", False)


class Sender:
    def pending(self):
        return []

    async def send(self, intent):
        intent.call()


class Chain:
    async def head(self):
        return SimpleNamespace(number=1, timestamp=POSTED_AT)


class Signer:
    async def sign_message(self, _):
        return b"\1" * 65


class OnlyWoken(FakeClock):
    """A clock on which no pause ever ends by itself."""

    async def sleep(self, _seconds):
        await asyncio.Event().wait()


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def states():
    return asyncio.Queue()


@pytest.fixture
def announcer(database, tmp_path, registry, states):
    config = make_config(
        http={"public_url": URL},
        market={"mediators": [MEDIATOR], "allow_toy_models": True},
        worker={"profile": "fake"},
    )
    clock = OnlyWoken()
    return Announcer(
        Offering(
            config=config,
            serving=Serving("fake", None),
            place=MarketPlace(1, MEDIATOR, MEDIATOR),
            provider=PROVIDER,
            prices=Prices(standing_terms(config.pricing, config.deal), {}),
        ),
        chain=Chain(),
        contracts=registry,
        transactions=Sender(),
        signer=Signer(),
        publisher=Publisher(BlockStore(tmp_path / "ipfs", floor_bytes=0)),
        marks=Marks(database, clock),
        clock=clock,
        update=lambda offer: states.put_nowait(offer),  # noqa: PLW0108 # named in the call
    )


async def test_a_drain_takes_the_offer_back_at_once_and_a_resume_publishes_it_again(
    announcer, database, registry, states
):
    drain = Drain(Marks(database, FakeClock()), list, lambda **_: announcer.look_again())
    running = asyncio.create_task(announcer.run())
    async with asyncio.timeout(30):
        assert (await states.get())["state"] == "published"
        assert registry.listed
        published = registry.user.metadata_cid

        await drain.verbs()[DRAIN]({})
        told = await states.get()
        assert (told["state"], told["cid"]) == ("draining", None)
        assert "sdv-node resume" in told["reason"]
        assert not registry.listed
        # Results of what was agreed are still fetched from that address.
        assert registry.user == User(PROVIDER, "", URL, (AS_PROVIDER,))

        await drain.verbs()[RESUME]({})
        assert (await states.get())["state"] == "published"
        assert registry.listed
        assert registry.user.metadata_cid == published
    running.cancel()
    await asyncio.wait([running])
