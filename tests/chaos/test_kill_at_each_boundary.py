"""T1: the node is killed with SIGKILL just before and just after every durable boundary of a job."""

import pytest

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.kills import BOUNDARIES, Boundary, kill_at

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda boundary: f"{boundary.side} {boundary.state}")
async def test_a_job_survives_a_kill_at_this_boundary(shared_arena: Arena, boundary: Boundary):
    found = await kill_at(shared_arena, boundary, seed=0)
    assert not found.broken
    assert (found.deals, found.lost, found.read) == (1, 0, boundary.delivers)
