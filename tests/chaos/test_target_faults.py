"""T9: whatever fails where results are kept, the CID on chain was read, or the job failed honestly."""

import pytest

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.targets import FAULTS, TargetFault, target_fault

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
SEEDS = 2


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_reported_cid_was_read_or_the_job_failed_honestly(
    shared_arena: Arena, fault: TargetFault, seed: int
):
    outcome = await target_fault(shared_arena, fault, seed)
    assert not outcome.findings.broken
    assert outcome.findings.deals == 1
    assert outcome.findings.read == int(not fault.unread)
    assert outcome.reads >= int(not fault.unread)
