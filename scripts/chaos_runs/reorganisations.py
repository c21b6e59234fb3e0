"""T5: reorganisations."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from scripts.chaos_runs.programme import Case, Run, Test, counted
from tests.chaos.harness.arena import Arena, arena
from tests.chaos.harness.random_reorgs import random_reorganisations
from tests.chaos.harness.reorgs import DEPTHS, Variant, reorganise
from tests.chaos.harness.requester import Event


@asynccontextmanager
async def _fresh(place: Arena) -> AsyncIterator[Arena]:
    """Give a chain of its own: Anvil does not go back to a snapshot over blocks it has replaced."""
    place.directory.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=place.directory, prefix="run-"))
    async with arena(place.nodes, folder) as fresh:
        yield fresh


async def _reorganised(event: Event, variant: Variant, place: Arena, seed: int) -> Run:
    """Every depth of one event in one variant."""
    async with _fresh(place) as fresh:
        found = await reorganise(fresh, event, variant, seed)
    return Run(found.broken, weight=len(DEPTHS), counts=counted(found))


async def _at_random(place: Arena, seed: int) -> Run:
    async with _fresh(place) as fresh:
        found = await random_reorganisations(fresh, seed, hires=seed % 2 == 1)
    counts = counted(found) | {
        "reorganisations of what was read": found.reorganisations,
        "results that reverted before their deal": found.early["addResult"],
        "agreements that reverted before their hire": found.early["agree"],
        "calls that reverted because an earlier attempt came back": found.again.total(),
    }
    return Run(found.broken, counts=counts)


TESTS = (
    Test(
        "T5",
        "reorganisations: 8 depths, 6 events, 4 variants",
        tuple(
            Case(f"{event} {variant}", partial(_reorganised, event, variant))
            for event in Event
            for variant in Variant
        ),
        {"ci": 1, "full": 5},
    ),
    Test(
        "T5-random",
        "reorganisations at random moments and depths",
        (Case("", _at_random),),
        {"ci": 1, "full": 500},
    ),
)
