"""T12: a disk that is full, out of inodes, read-only or slow at a durable boundary of a job."""

import pytest

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.disks import PLAIN, TROUBLES, Trouble, disk_fails, why_not_here
from tests.chaos.harness.kills import Boundary

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.integration,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(why_not_here() is not None, reason=str(why_not_here())),
]
A_SHARE = len(PLAIN) // 2
CASES = [
    (trouble, PLAIN[(2 * number + place) % len(PLAIN)])
    for place, trouble in enumerate(TROUBLES)
    for number in range(A_SHARE)
]
"""Every other boundary for each trouble, by turns; the programme's T12 has them all."""


@pytest.mark.parametrize(
    ("trouble", "boundary"), CASES, ids=[f"{trouble.name} at {boundary.state}" for trouble, boundary in CASES]
)
async def test_a_job_goes_on_when_the_disk_works_again(
    shared_arena: Arena, trouble: Trouble, boundary: Boundary
):
    found = await disk_fails(shared_arena, trouble, boundary, seed=0)
    assert not found.broken
    assert (found.deals, found.lost, found.read) == (2, 0, 2)
