"""T2: eight deals in flight, up to five kills at random moments; the invariants hold after every run."""

import pytest

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.kills import DEALS, random_kills

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
]
RUNS = 200
RUNS_OF_A_TEST = 25


@pytest.mark.parametrize("first", range(0, RUNS, RUNS_OF_A_TEST))
async def test_every_deal_is_paid_once_whenever_the_node_dies(shared_arena: Arena, first: int):
    for seed in range(first, first + RUNS_OF_A_TEST):
        found = await random_kills(shared_arena, seed)
        assert not found.broken, f"seed {seed}"
        assert (found.deals, found.lost, found.read) == (DEALS, 0, DEALS), f"seed {seed}"
