"""T4, T10 and T18: what dies beside the node, GPUs that fail, and long queues."""

import signal
from collections.abc import Awaitable, Callable
from functools import partial

from scripts.chaos_runs.programme import Case, Run, Test, counted, p95
from tests.chaos.harness.arena import Arena
from tests.chaos.harness.cards import AT_START_ONLY, MOMENTS, TROUBLES, Trouble, card_trouble
from tests.chaos.harness.load import busy_node
from tests.chaos.harness.queues import queued_jobs
from tests.chaos.harness.real_worker import STRIKES, struck_worker
from tests.chaos.harness.workers import (
    GPU_FAULTS,
    GpuFault,
    Supervised,
    gpu_faults,
    ipfs_kills,
    rpc_kills,
    worker_kills,
)

QUEUED, FULL_QUEUED = 100, 1000
BUSY, FULL_BUSY = (100, 0.3), (1000, 0.6)
"""Jobs, and for how many seconds each is on the device: ten minutes of them at full size."""
GAP_S = 0.2
GPU_JOBS = 3
"""In a run of T10: the one with the fault and two beside it."""


async def _killed(die: Callable[[Arena, int], Awaitable[Supervised]], arena: Arena, seed: int) -> Run:
    shown = await die(arena, seed)
    counts = counted(shown.findings) | {"killed": shown.killed, "workers replaced": shown.replaced}
    return Run(shown.findings.broken, counts=counts, samples={"time without a worker, s": shown.absent_s})


async def _gpu(fault: GpuFault, arena: Arena, seed: int, *, lasting: bool) -> Run:
    shown = await gpu_faults(arena, [fault], seed, lasting=lasting)
    if shown.findings.read != GPU_JOBS - lasting:
        shown.findings.broken.append(f"I1: {shown.findings.read} of {GPU_JOBS - lasting} results read")
    counts = counted(shown.findings) | {"workers replaced": shown.replaced}
    return Run(shown.findings.broken, counts=counts, samples={"time without a worker, s": shown.absent_s})


async def _struck(how: signal.Signals, arena: Arena, seed: int) -> Run:
    folder = arena.directory / f"tiny-{how.name}-{seed}"
    shown = await struck_worker(folder, arena.directory / "tiny", how, seed)
    return Run(shown.broken, samples={"time without a worker of tiny, s": (shown.back_s,)})


async def _card(trouble: Trouble, moment: str, arena: Arena, seed: int) -> Run:
    found = await card_trouble(arena, trouble, moment, seed)
    return Run(found.broken, counts=counted(found))


async def _load(jobs: int, job_s: float, arena: Arena, seed: int) -> Run:
    shown = await busy_node(arena, seed, jobs=jobs, job_s=job_s)
    broken = shown.findings.broken
    if shown.cut_off:
        broken.append(f"T18: {shown.cut_off} dashboards were cut off")
    if (gap_s := p95(shown.gaps_s)) > GAP_S:
        broken.append(f"T18: 95 % of the gaps of a busy node took up to {gap_s:.3f} s")
    counts = counted(shown.findings) | {
        "offers poured in": shown.offers,
        "updates of the dashboards": sum(shown.updates),
    }
    gaps_ms = tuple(gap * 1000 for gap in shown.gaps_s)
    return Run(broken, weight=jobs, counts=counts, samples={"device idle on a busy node, ms": gaps_ms})


async def _queue(jobs: int, arena: Arena, seed: int) -> Run:
    shown = await queued_jobs(arena.directory / f"queue-{seed}", jobs)
    broken = [] if shown.order == list(range(jobs)) else [f"T18: jobs began in another order: {shown.order}"]
    if (gap_s := p95(shown.gaps_s)) > GAP_S:
        broken.append(f"T18: 95 % of the gaps took up to {gap_s:.3f} s")
    gaps_ms = tuple(gap * 1000 for gap in shown.gaps_s)
    return Run(broken, weight=jobs, counts={"jobs": jobs}, samples={"device idle between jobs, ms": gaps_ms})


TESTS = (
    Test(
        "T4",
        "workers, the IPFS daemon or the RPC endpoint die at random moments instead of the node",
        tuple(
            Case(name, partial(_killed, die))
            for name, die in (("worker", worker_kills), ("IPFS daemon", ipfs_kills), ("RPC", rpc_kills))
        ),
        {"ci": 10, "full": 200},
    ),
    Test(
        "T10",
        "a GPU, its driver or its worker fails in each stage, once or each time, other jobs beside it",
        tuple(
            Case(f"{fault.word} {'each time' if lasting else 'once'}", partial(_gpu, fault, lasting=lasting))
            for fault in GPU_FAULTS
            for lasting in (False, True)
        )
        + tuple(
            Case(f"{trouble} at {moment}", partial(_card, trouble, moment))
            for moment in MOMENTS
            for trouble in (*TROUBLES, *(AT_START_ONLY if moment == "start" else ()))
        ),
        {"ci": 1, "full": 20},
    ),
    Test(
        "T10-tiny",
        "a worker with real models is killed, crashes or freezes in the middle of a job",
        tuple(Case(how.name, partial(_struck, how)) for how in STRIKES),
        {"ci": 2, "full": 20},
        lanes=1,
    ),
    Test(
        "T18",
        "many jobs wait for one worker, also beside a flood of offers and 50 dashboards: none is dropped "
        "and its device does not wait for the next one",
        (Case("worker", partial(_queue, QUEUED)), Case("node", partial(_load, *BUSY))),
        {"ci": 1, "full": 5},
        full_cases=(Case("worker", partial(_queue, FULL_QUEUED)), Case("node", partial(_load, *FULL_BUSY))),
        lanes=1,
        limit_s=3600.0,
    ),
)
