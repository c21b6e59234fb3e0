"""A node that is killed while it takes a direct hire agrees to it once and is paid once."""

import pytest

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.invariants import check
from tests.chaos.harness.kills import attended
from tests.chaos.harness.standing import standing_deal

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
BOUNDARIES = [
    "after:SEEN",
    "before:AGREEING",
    "after:AGREEING",
    "after:reserve:agree",
    "after:record:agree",
    "before:sent:agree",
    "after:sent:agree",
    "after:settle:agree",
    "after:AGREED",
]


async def hire(arena: Arena, crowd: Crowd, provider) -> str:
    """Post a job and agree first to the deal that the provider's published terms give."""
    await crowd.post(["a hired fox"])
    contracts = arena.market.contracts
    deal = standing_deal(
        provider, contracts, number=1, requester=crowd.address, inputs=("Prompt=a hired fox",)
    )
    await arena.send(crowd.address, contracts.agree(deal))
    return deal.deal_id


@pytest.mark.parametrize("boundary", BOUNDARIES)
async def test_a_hire_survives_a_kill_at_this_boundary(shared_arena: Arena, boundary: str):
    await shared_arena.rewind()
    provider = shared_arena.provider(market={"matching": "hire"}, worker={"profile": "fake:5"})
    crowd = Crowd(shared_arena, agrees=False, pulse=True)
    async with attended(shared_arena, crowd, provider):
        await provider.start(("tests.chaos.harness.hooks:die_at", ["h1", boundary]))
        await hire(shared_arena, crowd, provider)
        assert await provider.node.ended == -9, provider.tail()
        await provider.start()
        await provider.rest("PAID", "REFUSED", jobs=2)
        await crowd.ended(1)
        found = await check(shared_arena, provider, crowd.prompts)
    assert not found.broken
    assert (found.deals, found.lost) == (1, 0)
    assert list(crowd.states) != []
