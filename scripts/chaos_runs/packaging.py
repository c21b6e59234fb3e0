"""T22: the package on clean machines."""

from scripts.chaos_runs.programme import Case, Run, Test
from tests.chaos.harness.arena import Arena
from tests.chaos.harness.machine import why_not_here
from tests.chaos.harness.packaging import package_on_debian

MB = 10**6


async def _debian(arena: Arena, _seed: int) -> Run:
    if (why := why_not_here()) is not None:
        return Run([f"T22: {why}"])
    found = await package_on_debian(arena)
    highest = {f"exposure of {unit}": value for unit, value in found.exposure.items()}
    highest["package, MB"] = found.package_bytes / MB
    return Run(found.broken, counts={"checks": found.checks, "jobs paid": found.paid}, highest=highest)


TESTS = (
    Test(
        "T22",
        "the package on a clean Debian 12 under its own systemd: install, start, paid jobs, upgrade, "
        "remove, purge",
        (Case("Debian 12", _debian),),
        {"ci": 1, "full": 1},
        lanes=1,
        limit_s=3600.0,
    ),
)
