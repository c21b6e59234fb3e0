"""Following the chain: the feed is read for ever, whatever happens to the blocks it was read from."""

import asyncio

import pytest

from node.chain.client import Block
from node.chain.logs import ReorgDetected
from node.engine.follow import Follower
from node.errors import Unreachable
from node.journal.records import CursorRow
from node.market.batch import FeedBatch
from node.observe.health import Health
from node.observe.systemd import feed_watchdog
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


class Stuck(Chain):
    """An engine that takes nothing any more, whose facts are therefore never durable."""

    async def post(self, facts):
        await asyncio.Event().wait()


@pytest.mark.parametrize("stuck", [True, False], ids=["a stuck engine", "an endpoint that is down"])
async def test_the_watchdog_is_fed_by_turns_that_end_and_not_by_the_loop_alone(stuck):
    clock, chain, fed = FakeClock(), Stuck(), []
    health = Health(clock)
    health.expect("follower", 120.0)

    async def next_batch():
        if stuck:
            return BATCH
        raise Unreachable("connection refused")

    feed = Feed()
    feed.next = next_batch
    follower = Follower(
        feed,
        chain,
        rewinder=chain,
        reconciler=chain,
        settled=chain,
        read_up_to=None,
        poll_interval_s=0.1,
        clock=clock,
        on_batch=lambda _: None,
        on_trouble=lambda _: health.beat("follower"),
    )

    class Manager:
        watchdog_s = 180.0

        def watchdog(self):
            fed.append(clock.monotonic())

    began = clock.monotonic()
    async with asyncio.timeout(60):
        tasks = [
            asyncio.create_task(follower.run()),
            asyncio.create_task(feed_watchdog(Manager(), lambda: health.live().ok, clock)),
        ]
        while clock.monotonic() < began + 3600:
            await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (fed[-1] <= began + 180) == stuck
