"""T6: endpoints that fail in fourteen ways cost time, never a job and never a wrong act."""

import pytest

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.rpc_faults import (
    run_breaking_sockets,
    run_loss_of_the_first,
    run_rpc_faults,
    run_rpc_outage,
)
from tests.faults.rpc import Fault

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
]
SEED = 16
"""Strikes the first request that a kind applies to, so that also what is asked rarely fails once."""


@pytest.mark.parametrize("kind", list(Fault))
async def test_with_one_request_in_five_failing_every_job_is_paid(shared_arena: Arena, kind: Fault):
    figures = await run_rpc_faults(shared_arena, kind, rate=0.2, endpoints=1, jobs=1, seed=SEED)
    assert not figures.findings.broken
    assert (figures.paid, figures.findings.lost) == (1, 0)
    assert figures.struck


@pytest.mark.parametrize("kind", [Fault.WRONG_CHAIN, Fault.UNDERPRICED])
async def test_with_half_of_all_requests_failing_nothing_wrong_is_done(shared_arena: Arena, kind: Fault):
    figures = await run_rpc_faults(shared_arena, kind, rate=0.5, endpoints=2, jobs=1, seed=SEED)
    assert not figures.findings.broken
    assert figures.struck


@pytest.mark.parametrize("kind", [Fault.HANG, Fault.WRONG_CHAIN, Fault.HEAD_1000, Fault.LOGS_MISSING])
async def test_in_an_outage_nothing_is_bid_and_afterwards_all_is_paid(shared_arena: Arena, kind: Fault):
    figures = await run_rpc_outage(shared_arena, kind, endpoints=1, seed=SEED)
    assert figures.bids_in_outage == 0
    assert not figures.findings.broken
    assert figures.paid == 2


async def test_when_the_preferred_endpoint_goes_away_the_job_goes_on_and_the_status_says_so(
    shared_arena: Arena,
):
    figures, shown = await run_loss_of_the_first(shared_arena, seed=SEED)
    assert not figures.findings.broken
    standing = [(endpoint["state"], endpoint["active"]) for endpoint in shown]
    assert standing == [("failing", False), ("up", True)]
    assert shown[0]["problem"]
    assert shown[1]["lag"] == 0


async def test_a_job_is_paid_over_a_websocket_that_breaks_all_the_time(shared_arena: Arena):
    figures = await run_breaking_sockets(shared_arena, seed=SEED)
    assert not figures.findings.broken
