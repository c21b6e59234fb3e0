"""T7: an operator sends with the node's key while it works."""

import pytest

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.foreign import shared_key

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
JOBS = 16


async def test_foreign_transactions_of_our_key_stall_no_job_and_cost_at_most_two_blocks(shared_arena: Arena):
    shared = await shared_key(shared_arena, seed=0, jobs=JOBS)
    assert not shared.findings.broken
    assert (shared.findings.deals, shared.findings.lost) == (JOBS, 0)
    assert shared.displaced > 0, "the operator never took a nonce of ours: nothing was shown"
