"""T9: where results are kept fails."""

from functools import partial

from scripts.chaos_runs.programme import Case, Run, Test, counted
from tests.chaos.harness.arena import Arena
from tests.chaos.harness.targets import FAULTS, TargetFault, target_fault


async def _fault(fault: TargetFault, arena: Arena, seed: int) -> Run:
    outcome = await target_fault(arena, fault, seed)
    counts = counted(outcome.findings) | {
        f"results reported or given up: {outcome.ends}": 1,
        "copies when reported": outcome.copies,
        "reads before reporting": outcome.reads,
    }
    return Run(outcome.findings.broken, counts=counts)


TESTS = (
    Test(
        "T9",
        "Kubo and pinning services that fail while a result is given to them or read back",
        tuple(Case(fault.name, partial(_fault, fault)) for fault in FAULTS),
        {"ci": 1, "full": 25},
    ),
)
