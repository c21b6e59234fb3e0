"""T10, the driver's part: a card gets hot, crowded, broken or lost, and all that was agreed is paid."""

import pytest

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.cards import AT_START_ONLY, TROUBLES, card_trouble

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
async def test_what_befalls_a_card_under_a_job_costs_no_deal_and_no_other_is_taken_on(
    shared_arena: Arena, trouble
):
    assert not (await card_trouble(shared_arena, trouble, "rendering", 1)).broken


@pytest.mark.parametrize("trouble", [*TROUBLES[::4], *AT_START_ONLY], ids=str)
async def test_a_node_that_starts_with_it_waits_until_it_is_over(shared_arena: Arena, trouble):
    assert not (await card_trouble(shared_arena, trouble, "start", 1)).broken
