"""T11: the wall clock is wrong, and every deadline is kept by chain time."""

import pytest

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.clocks import CLOCKS, WrongClock, wrong_clock

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("clock", CLOCKS, ids=lambda clock: clock.name)
async def test_nothing_is_taken_back_or_claimed_early_or_late(shared_arena: Arena, clock: WrongClock):
    found = await wrong_clock(shared_arena, clock, seed=0)
    assert not found.broken
    assert (found.deals, found.lost) == (3, 0)
