"""Heads and hashes of several endpoints are compared once a block."""

import pytest

from node.chain.survey import Survey
from node.errors import Unreachable
from tests.fakes.endpoints import DEAD, World


async def look(world: World, times: int = 1) -> None:
    survey = Survey(world.pool, depth=3)
    for _ in range(times):
        await survey.look()


async def test_an_endpoint_far_behind_is_passed_over_until_it_caught_up():
    world = World()
    world.endpoints[0].head = 20
    await look(world)
    assert world.states() == ["behind", "up"]
    assert "80 blocks behind" in str(world.pool.reports()[0].problem)
    assert await world.pool.call("eth_x", []) == "https://e1"
    world.endpoints[0].head = 100
    await look(world)
    assert world.states() == ["up", "up"]


async def test_a_head_that_stands_still_under_the_best_is_stale():
    world = World()
    await look(world)
    world.endpoints[1].head += 2
    await look(world)
    assert world.states() == ["up", "up"]
    world.clock.time += 11
    await look(world)
    assert world.states() == ["behind", "up"]


async def test_a_chain_that_stands_still_everywhere_is_nobodys_fault():
    world = World()
    await look(world)
    world.clock.time += 1000
    await look(world)
    assert world.states() == ["up", "up"]


async def test_a_few_quick_blocks_are_no_lag():
    world = World()
    for endpoint in world.endpoints:
        endpoint.block_s = 0
    await look(world)
    world.grow(4)
    await look(world)
    world.endpoints[0].head -= 30
    await look(world)
    assert world.states() == ["up", "up"]


async def test_the_outvoted_endpoint_is_set_aside_and_told():
    world = World(3)
    world.endpoints[0].fork = "bb"
    await look(world)
    assert world.states() == ["disagrees", "up", "up"]
    assert "outvoted" in str(world.pool.reports()[0].problem)
    assert await world.pool.call("eth_x", []) == "https://e1"
    world.endpoints[0].fork = "aa"
    await look(world)
    assert world.states() == ["up", "up", "up"]


async def test_the_outvoted_one_is_not_asked_even_if_it_is_the_last():
    world = World(3)
    world.endpoints[0].fork = "bb"
    await look(world)
    world.endpoints[1].down = world.endpoints[2].down = DEAD
    before = len(world.endpoints[0].asked)
    with pytest.raises(Unreachable):
        await world.pool.call("eth_x", [])
    assert len(world.endpoints[0].asked) == before


async def test_two_that_disagree_are_both_not_believed_until_they_agree():
    world = World()
    world.endpoints[1].fork = "bb"
    await look(world)
    for method in ("eth_call", "eth_sendRawTransaction", "eth_x"):
        with pytest.raises(Unreachable, match=r"disagree about block 97.*take the wrong one out"):
            await world.pool.call(method, [{}])
    with pytest.raises(Unreachable, match="disagree"):
        await world.pool.pinned().call("eth_x", [])
    world.endpoints[1].fork = "aa"
    await look(world)
    assert await world.pool.call("eth_x", []) == "https://e0"


async def test_when_one_of_two_that_disagree_goes_away_the_other_is_still_not_believed():
    world = World()
    world.endpoints[1].fork = "bb"
    await look(world)
    world.endpoints[0].down = DEAD
    await look(world, times=2)
    with pytest.raises(Unreachable, match="disagree"):
        await world.pool.call("eth_x", [])


async def test_a_lagging_endpoint_is_compared_where_it_is():
    world = World()
    world.endpoints[0].head = 98
    await look(world)
    assert ("eth_getBlockByNumber", [hex(95), False]) in world.endpoints[1].asked
    assert world.states() == ["up", "up"]


async def test_a_reorganisation_between_two_questions_is_no_disagreement():
    world = World()
    first = world.endpoints[0]
    plain, forks = first.block, iter(["bb"])

    def reorganised(number):
        first.fork = next(forks, "aa") if number == 97 else "aa"
        return plain(number)

    first.block = reorganised
    await look(world)
    assert world.pool.split is None
