"""T8: a second copy of the node never works beside the first."""

import pytest

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.twins import second_copies, two_nodes

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def test_a_second_copy_with_the_same_data_directory_does_not_start(shared_arena: Arena):
    assert not (await second_copies(shared_arena, 20)).broken


@pytest.mark.parametrize("seed", range(10))
async def test_a_node_that_shares_its_key_halts_within_three_blocks_and_no_deal_is_agreed_twice(
    shared_arena: Arena, seed: int
):
    twins = await two_nodes(shared_arena, seed)
    assert not twins.findings.broken
    assert twins.halted >= 1
