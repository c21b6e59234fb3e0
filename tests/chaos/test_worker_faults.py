"""T4, T10 and T18 in small: workers, daemons and endpoints die, GPUs fail, queues are long; all is paid."""

import pytest

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.load import OFFERS_PER_S, busy_node
from tests.chaos.harness.queues import queued_jobs
from tests.chaos.harness.workers import GPU_FAULTS, gpu_faults, ipfs_kills, rpc_kills, worker_kills

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("dies", [worker_kills, ipfs_kills, rpc_kills])
async def test_every_deal_is_paid_when_something_else_than_the_node_dies(shared_arena: Arena, dies):
    shown = await dies(shared_arena, 1)
    assert not shown.findings.broken
    assert shown.killed > 0


async def test_what_fails_once_on_a_gpu_is_delivered_all_the_same(shared_arena: Arena):
    shown = await gpu_faults(shared_arena, GPU_FAULTS, 1, lasting=False)
    assert not shown.findings.broken


async def test_inputs_that_fail_each_time_are_failed_honestly_and_harm_no_other_job(shared_arena: Arena):
    shown = await gpu_faults(shared_arena, GPU_FAULTS[::4], 1, lasting=True)
    assert not shown.findings.broken


async def test_a_long_queue_is_worked_off_in_order_and_nothing_of_it_is_dropped(tmp_path):
    shown = await queued_jobs(tmp_path, 60)
    assert shown.order == list(range(60))
    assert len(shown.gaps_s) == 59


async def test_a_flood_of_offers_and_fifty_dashboards_hold_up_no_job(shared_arena: Arena):
    shown = await busy_node(shared_arena, 1, jobs=30, job_s=0.1)
    assert not shown.findings.broken
    assert len(shown.gaps_s) == 29
    assert shown.offers >= OFFERS_PER_S
    assert shown.cut_off == 0
    # Each sees at least that every job begins, moves and ends.
    assert min(shown.updates) > 3 * 30
