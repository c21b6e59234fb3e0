"""T1, T2, T7, T8 and T11: kills, a shared key, a wrong clock."""

from functools import partial

from scripts.chaos_runs.programme import Case, Run, Test, counted
from tests.chaos.harness.arena import Arena
from tests.chaos.harness.clocks import CLOCKS, WrongClock, wrong_clock
from tests.chaos.harness.foreign import shared_key
from tests.chaos.harness.kills import BOUNDARIES, DEALS, Boundary, kill_at, random_kills
from tests.chaos.harness.twins import second_copies, two_nodes

JOBS_BESIDE_AN_OPERATOR = 40
FULL_JOBS_BESIDE_AN_OPERATOR = 200
SLOWEST_START = "slowest start, s"


async def _boundary(boundary: Boundary, arena: Arena, seed: int) -> Run:
    found = await kill_at(arena, boundary, seed)
    if (found.deals, found.lost, found.read) != (1, 0, boundary.delivers):
        found.broken.append(f"I1: {found.deals} deals, {found.lost} lost, {found.read} results read")
    return Run(
        found.broken, counts=counted(found) | {"kills": 1}, highest={SLOWEST_START: found.slowest_start_s}
    )


async def _random(arena: Arena, seed: int) -> Run:
    found = await random_kills(arena, seed)
    if (found.deals, found.lost, found.read) != (DEALS, 0, DEALS):
        found.broken.append(f"I1: {found.deals} deals, {found.lost} lost, {found.read} results read")
    return Run(
        found.broken,
        counts=counted(found) | {"kills": found.kills},
        highest={SLOWEST_START: found.slowest_start_s},
    )


async def _shared_key(jobs: int, arena: Arena, seed: int) -> Run:
    shared = await shared_key(arena, seed, jobs)
    counts = counted(shared.findings)
    counts |= {"foreign transactions": shared.foreign, "nonces lost to them": shared.displaced}
    highest = {"slowest resync, blocks": float(shared.slowest_resync_blocks)}
    return Run(shared.findings.broken, weight=jobs, counts=counts, highest=highest)


async def _copies(arena: Arena, _seed: int) -> Run:
    return Run((await second_copies(arena, 1)).broken)


async def _twins(arena: Arena, seed: int) -> Run:
    twins = await two_nodes(arena, seed)
    highest = {"slowest notice, blocks": float(max(twins.blocks_to_notice, default=0))}
    return Run(twins.findings.broken, counts={"nodes halted": twins.halted}, highest=highest)


async def _clock(clock: WrongClock, arena: Arena, seed: int) -> Run:
    found = await wrong_clock(arena, clock, seed)
    return Run(found.broken, counts=counted(found))


TESTS = (
    Test(
        "T1",
        "kill -9 just before and just after every durable boundary of a job",
        tuple(Case(f"{at.side} {at.state}", partial(_boundary, at)) for at in BOUNDARIES),
        {"ci": 1, "full": 25},
    ),
    Test(
        "T2",
        "kill -9 at random moments, 8 deals in flight, up to 5 kills a run",
        (Case("", _random),),
        {"ci": 200, "full": 2000},
    ),
    Test(
        "T7",
        "jobs beside an operator who sends with the node's key",
        (Case("", partial(_shared_key, JOBS_BESIDE_AN_OPERATOR)),),
        {"ci": 1, "full": 1},
        full_cases=(Case("", partial(_shared_key, FULL_JOBS_BESIDE_AN_OPERATOR)),),
        limit_s=1800.0,
    ),
    Test("T8", "two nodes with one key", (Case("", _twins),), {"ci": 10, "full": 100}),
    Test("T8-copies", "a second copy on one data directory", (Case("", _copies),), {"ci": 20, "full": 100}),
    Test(
        "T11",
        "the wall clock jumps, drifts or stands still",
        tuple(Case(clock.name, partial(_clock, clock)) for clock in CLOCKS),
        {"ci": 1, "full": 25},
    ),
)
