"""T12: the disk."""

from functools import partial

from scripts.chaos_runs.programme import Case, Run, Test, counted
from tests.chaos.harness.arena import Arena
from tests.chaos.harness.disks import PLAIN, TROUBLES, Trouble, disk_fails, why_not_here
from tests.chaos.harness.kills import Boundary

JOBS = 2


async def _disk(trouble: Trouble, boundary: Boundary, arena: Arena, seed: int) -> Run:
    if (why := why_not_here()) is not None:
        return Run([f"T12: {why}"])
    found = await disk_fails(arena, trouble, boundary, seed)
    if (found.deals, found.lost, found.read) != (JOBS, 0, JOBS):
        found.broken.append(f"I1: {found.deals} deals, {found.lost} lost, {found.read} results read")
    return Run(found.broken, counts=counted(found))


TESTS = (
    Test(
        "T12",
        "the disk is full, out of inodes, read-only or slow at each durable boundary of a job",
        tuple(
            Case(f"{trouble.name} at {boundary.state}", partial(_disk, trouble, boundary))
            for trouble in TROUBLES
            for boundary in PLAIN
        ),
        {"ci": 1, "full": 1},
    ),
)
