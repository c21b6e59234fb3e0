"""T6: RPC endpoints that fail."""

from functools import partial

from scripts.chaos_runs.programme import Case, Run, Test, counted, p95
from tests.chaos.harness.arena import Arena
from tests.chaos.harness.rpc_faults import (
    HOPELESS_ABOVE,
    OUTAGES,
    RATES,
    RpcFigures,
    run_rpc_faults,
    run_rpc_outage,
)
from tests.faults.rpc import Fault

ENDPOINTS = (1, 2)
FULL_JOBS = 20
PAID_WITHIN_S = 60.0
RECOVERED_WITHIN_S = 120.0


async def _faulty(kind: Fault, rate: float, endpoints: int, jobs: int, place: Arena, seed: int) -> Run:
    figures = await run_rpc_faults(place, kind, rate, endpoints, jobs, seed)
    broken = list(figures.findings.broken)
    if rate <= HOPELESS_ABOVE:
        if figures.paid != jobs:
            broken.append(f"T6: {figures.paid} of {jobs} jobs were paid")
        if (late := p95(figures.delays_s)) > PAID_WITHIN_S:
            broken.append(f"T6: 95 % of the jobs took up to {late:.1f} s")
    return _judged(figures, broken, jobs)


async def _outage(kind: Fault, endpoints: int, place: Arena, seed: int) -> Run:
    figures = await run_rpc_outage(place, kind, endpoints, seed)
    broken = list(figures.findings.broken)
    if figures.bids_in_outage:
        broken.append(f"T6: {figures.bids_in_outage} bids in an outage")
    if (last := max(figures.delays_s, default=0.0)) > RECOVERED_WITHIN_S:
        broken.append(f"T6: the last job ended {last:.1f} s after the outage")
    return _judged(figures, broken, len(figures.delays_s))


def _judged(figures: RpcFigures, broken: list[str], jobs: int) -> Run:
    counts = counted(figures.findings) | {
        "paid": figures.paid,
        "requests that failed": figures.struck,
        "requests": figures.asked,
        "bids in an outage": figures.bids_in_outage,
    }
    return Run(broken, weight=jobs, counts=counts, samples={"job, s": figures.delays_s})


def _rates(rates: tuple[float, ...], endpoints: tuple[int, ...], jobs: int) -> tuple[Case, ...]:
    return tuple(
        Case(f"{kind} {rate:.0%} {count} endpoints", partial(_faulty, kind, rate, count, jobs))
        for kind in Fault
        for rate in rates
        for count in endpoints
    )


OUTAGE_CASES = tuple(Case(f"{kind} outage", partial(_outage, kind, 1)) for kind in OUTAGES)

TESTS = (
    Test(
        "T6",
        f"RPC endpoints that fail in {len(Fault)} ways (ci: one request in five; full: 1 to 50 %, 1 and 2)",
        _rates((HOPELESS_ABOVE,), (1,), 1),
        {"ci": 1, "full": 1},
        full_cases=_rates(RATES, ENDPOINTS, FULL_JOBS),
    ),
    Test("T6-outage", "every request fails for a while", OUTAGE_CASES, {"ci": 1, "full": 5}),
)
