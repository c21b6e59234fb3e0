"""Several endpoints answer as one: who is asked, who is passed over, and when nobody is."""

import asyncio
from itertools import pairwise

import pytest

from node.chain.client import Chain
from node.chain.endpoint import WrongChain
from node.chain.endpoints import EndpointPool
from node.chain.hexadecimal import BadReply
from node.chain.jsonrpc import RateLimited, ReplyTooLarge, RpcError, TimedOut
from node.chain.survey import Survey
from node.errors import Misconfigured, Unreachable
from tests.fakes.endpoints import DEAD, World

REVERT = RpcError(3, "execution reverted: no", "0x")
FAILURES = [
    (Unreachable("reset"), "unreachable"),
    (TimedOut("silent"), "timeout"),
    (BadReply("no JSON"), "bad_reply"),
    (RateLimited("HTTP 429"), "rate_limited"),
    (RpcError(-32005, "daily request count exceeded, request rate limited"), "rate_limited"),
    (RpcError(-32603, "Internal error"), "unreachable"),
    (WrongChain("https://e0", 5, 7), "wrong_chain"),
]


async def test_calls_stay_on_the_first_endpoint_while_it_is_sound():
    world = World(3)
    for _ in range(5):
        assert await world.pool.call("eth_x", []) == "https://e0"
    assert [len(endpoint.asked) for endpoint in world.endpoints] == [5, 0, 0]


@pytest.mark.parametrize(("failure", "kind"), FAILURES, ids=str)
async def test_a_failure_is_answered_by_the_next_endpoint_at_once(failure: Exception, kind: str):
    world = World()
    world.endpoints[0].down = failure
    assert await world.pool.call("eth_x", []) == "https://e1"
    assert world.clock.slept == []
    assert world.failures == [kind]
    assert await world.pool.call("eth_x", []) == "https://e1"
    assert len(world.endpoints[0].asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        REVERT,
        RpcError(-32602, "invalid argument 0"),
        RpcError(-32005, "query returned more than 10000 results"),
    ],
)
async def test_an_answer_that_refuses_is_not_asked_elsewhere(answer: RpcError):
    world = World()
    world.endpoints[0].down = answer
    with pytest.raises(RpcError) as caught:
        await world.pool.call("eth_x", [])
    assert caught.value is answer
    assert world.endpoints[1].asked == []
    assert world.states() == ["up", "new"]


@pytest.mark.parametrize(
    "lack",
    [
        RpcError(-32000, "header not found"),
        RpcError(-32000, "missing trie node 12ab (path )"),
        RpcError(-32601, "the method eth_x does not exist/is not available"),
    ],
)
async def test_what_one_endpoint_lacks_is_asked_of_the_next_without_blame(lack: RpcError):
    world = World()
    world.endpoints[0].down = lack
    assert await world.pool.call("eth_x", []) == "https://e1"
    assert world.states() == ["up", "up"]
    assert world.failures == []


@pytest.mark.parametrize(
    ("lack", "asked"),
    [("header not found", 3), ("method not found", 1), ("missing trie node 12ab (path )", 1)],
)
async def test_only_what_may_still_come_is_asked_of_the_same_endpoint_again(lack: str, asked: int):
    world = World(1)
    world.endpoints[0].down = RpcError(-32000, lack)
    with pytest.raises((RpcError, Unreachable), match=lack[:12]):
        await world.pool.call("eth_x", [])
    assert len(world.endpoints[0].asked) == asked


async def test_readers_of_the_state_wait_for_one_head_together():
    world = World(1)
    await asyncio.gather(*(world.pool.call("eth_getBalance", ["0x", "latest"]) for _ in range(5)))
    assert world.endpoints[0].methods().count("eth_getBlockByNumber") == 1
    world.clock.time += 2
    world.endpoints[0].down = DEAD
    failures = await asyncio.gather(
        *(world.pool.call("eth_getBalance", ["0x", "latest"]) for _ in range(5)), return_exceptions=True
    )
    assert all(failure is DEAD for failure in failures)
    assert world.endpoints[0].methods().count("eth_getBlockByNumber") == 4


async def test_a_block_that_was_seen_and_is_missing_is_asked_of_the_next():
    world = World()
    chain = Chain(world.pool)
    await chain.head()
    world.endpoints[0].head = 90
    block = await chain.block(100)
    assert block is not None
    assert block.number == 100
    assert await chain.block(101) is None


async def test_the_preferred_endpoint_comes_back_when_it_has_been_sound_for_a_while():
    world = World()
    world.endpoints[0].down = DEAD
    await world.pool.call("eth_x", [])
    world.endpoints[0].down = None
    world.clock.time += 1
    survey = Survey(world.pool, depth=3)
    await survey.look()
    assert world.states() == ["up", "up"]
    assert await world.pool.call("eth_x", []) == "https://e1"
    world.clock.time += 30
    assert await world.pool.call("eth_x", []) == "https://e0"


async def test_an_endpoint_that_fails_is_looked_at_again_with_growing_pauses():
    world = World()
    world.endpoints[0].down = DEAD
    survey = Survey(world.pool, depth=3)
    looks = []
    for second in range(60):
        before = len(world.endpoints[0].asked)
        await survey.look()
        if len(world.endpoints[0].asked) > before:
            looks.append(second)
        world.clock.time += 1
    pauses = [after - before for before, after in pairwise(looks)]
    assert pauses == [1, 1, 2, 4, 8, 15, 15]


async def test_an_endpoint_that_asks_for_time_is_left_alone_for_that_time():
    world = World(1)
    world.endpoints[0].down = RateLimited("HTTP 429", retry_after_s=60)
    with pytest.raises(Unreachable):
        await world.pool.call("eth_x", [])
    world.endpoints[0].down = None
    world.clock.time += 30
    with pytest.raises(Unreachable, match="429"):
        await world.pool.call("eth_x", [])
    assert len(world.endpoints[0].asked) == 1
    world.clock.time += 29
    assert await world.pool.call("eth_x", []) == "https://e0"


async def test_one_endpoint_alone_is_asked_again_after_short_pauses():
    world = World(1)
    world.endpoints[0].next.extend([DEAD, DEAD, "0x1"])
    assert await world.pool.call("eth_x", []) == "0x1"
    assert world.clock.slept == [0.1, 0.4]


async def test_when_all_fail_each_is_told():
    world = World(2)
    for endpoint in world.endpoints:
        endpoint.down = Unreachable(f"{endpoint.name} is away")
    with pytest.raises(Unreachable, match="e0 is away; https://e1 is away"):
        await world.pool.call("eth_x", [])


async def test_a_slow_answer_to_a_large_question_says_nothing_against_the_endpoint():
    world = World(1)
    world.endpoints[0].down = TimedOut("silent")
    with pytest.raises(TimedOut):
        await world.pool.call("eth_getLogs", [{}])
    assert world.states() == ["new"]


async def test_an_answer_that_is_too_large_is_not_asked_elsewhere():
    world = World()
    world.endpoints[0].down = ReplyTooLarge("too large")
    with pytest.raises(ReplyTooLarge):
        await world.pool.call("eth_getLogs", [{}])
    assert world.endpoints[1].asked == []


async def test_silence_is_noticed_within_three_block_times():
    world = World(1)
    block_s = world.endpoints[0].block_s = 2
    chain = Chain(world.pool)
    await chain.head()
    world.grow(10)
    await chain.head()
    await world.pool.call("eth_x", [])
    assert world.endpoints[0].timeout_s == 2 * block_s
    await world.pool.call("eth_getLogs", [{}])
    assert world.endpoints[0].timeout_s == 10


async def test_an_endpoint_that_is_silent_twice_loses_all_its_connections():
    world = World(1)
    world.endpoints[0].next.extend([TimedOut("silent"), "0x1", TimedOut("silent"), TimedOut("silent"), "0x1"])
    await world.pool.call("eth_x", [])
    assert world.endpoints[0].closed == 0
    await world.pool.call("eth_x", [])
    assert world.endpoints[0].closed == 1


async def test_endpoints_of_another_chain_are_refused_by_name_at_the_start():
    world = World()
    for endpoint in world.endpoints:
        endpoint.down = WrongChain(endpoint.name, 5, 7)
    with pytest.raises(Misconfigured, match=r"e0 serves chain 5, not chain 7.*e1 serves chain 5"):
        await world.pool.open()


async def test_one_endpoint_of_another_chain_does_not_stop_the_start():
    world = World(chain_id=7)
    world.endpoints[0].down = WrongChain("https://e0", 5, 7)
    assert await world.pool.open() == 7
    assert world.states() == ["wrong chain", "up"]


def test_endpoints_at_one_host_are_told_apart():
    pool = EndpointPool(["https://h/a-key", "wss://h/b-key", "https://h/c-key"])
    assert [report.name for report in pool.reports()] == ["https://h (1)", "wss://h", "https://h (2)"]
