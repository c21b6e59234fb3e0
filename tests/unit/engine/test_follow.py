"""Following the chain: the feed is read for ever, whatever happens to the blocks it was read from."""

import asyncio

import pytest

from node.chain.client import Block
from node.chain.logs import ReorgDetected
from node.engine.follow import Follower
from node.errors import Unreachable
from node.journal.records import CursorRow
from node.market.batch import FeedBatch
from tests.fakes.clock import FakeClock

HASH = "0x" + "0a" * 32
BATCH = FeedBatch(Block(9, HASH, 100), Block(10, HASH, 110), caught_up=True)


class Told(Exception):
    """The batch has reached its reader."""


class Feed:
    """Says what a test tells it to, then hands out one batch."""

    def __init__(self, *answers):
        self.answers = [*answers, BATCH]
        self.rewound = []

    async def next(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def rewind(self, cursor):
        self.rewound.append(cursor.block_number)


class Chain:
    """Meets the rewinder, the reconciler, the look at settled transactions and the engine."""

    def __init__(self):
        self.deadlines = []

    async def rewind(self, broken):
        return CursorRow(broken.number - 5, HASH)

    async def reread_from(self, read_up_to):
        return None

    async def look(self, first_block, last_block):
        pass

    async def post(self, facts):
        self.cursor = facts.cursor

    async def chain_time_reached(self, timestamp):
        self.deadlines.append(timestamp)
        raise Told


async def follow(feed):
    chain, troubles = Chain(), []
    follower = Follower(
        feed,
        chain,
        rewinder=chain,
        reconciler=chain,
        settled=chain,
        read_up_to=None,
        poll_interval_s=0.1,
        clock=FakeClock(),
        on_batch=lambda _: None,
        on_trouble=troubles.append,
    )
    with pytest.raises(Told):
        async with asyncio.timeout(60):
            await follower.run()
    return chain, troubles


async def test_a_batch_becomes_durable_before_deadlines_are_judged_by_its_newest_block():
    chain, _ = await follow(Feed())
    assert chain.cursor == CursorRow(9, HASH, 10)
    assert chain.deadlines == [110]


async def test_an_endpoint_that_fails_is_asked_again_and_it_is_told():
    _, troubles = await follow(Feed(Unreachable("no answer"), None))
    assert troubles == ["no answer", None, None]


async def test_a_second_reorganisation_right_after_the_first_is_gone_back_over_as_well():
    feed = Feed(ReorgDetected(20, HASH, HASH, 25), ReorgDetected(15, HASH, HASH, 25))
    await follow(feed)
    assert feed.rewound == [15, 10]
