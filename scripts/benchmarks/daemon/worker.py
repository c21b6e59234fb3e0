"""One worker of the node's own pool: how it starts, and what a job costs beside being computed."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from node.job.modules import NEWEST
from node.job.progress import Progress
from node.job.spec import JobSpec, parse_inputs
from node.types import JobId
from node.worker.fake import FakeRenderer, is_fake
from node.worker.pool import WorkerPool
from node.worker.settings import Place
from scripts.benchmarks.daemon.gaps import Told, device_ended, first_step_began, gaps, handovers

STARTS = 3
QUEUED = 5
LONE_JOBS = 2
ROUNDS = 40


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a profile, and the data directory where its models are."""

    profile: str
    data_dir: Path
    gpu: str | None


def spec(number: int) -> JobSpec:
    """Return a short job; its number makes it unlike all the others."""
    inputs = (f"Prompt=a red fox {number}", f"Seed={number}", "Steps=8", "VideoSteps=5")
    return parse_inputs(NEWEST.canonical, inputs)


class Bench:
    """Jobs of one subject, each in a directory of its own below ``folder``."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self._subject = subject
        self._folder = folder
        self._count = 0

    @asynccontextmanager
    async def pool(self):
        """Yield a pool whose worker is ready, and how long that took."""
        place = Place(gpu=self._subject.gpu)
        began = time.perf_counter()
        pool = WorkerPool(profile=self._subject.profile, data_dir=self._subject.data_dir, places=(place,))
        await pool.start()
        try:
            await pool.wait_ready()
            yield pool, time.perf_counter() - began
        finally:
            await pool.stop()

    async def job(self, pool: WorkerPool) -> tuple[list[Told], float]:
        """Render a job. Return what was told of it and its seconds."""
        self._count += 1
        job_id, told = JobId(f"{self._subject.profile}-{self._count}"), []

        def on_progress(progress: Progress) -> None:
            told.append(Told(time.perf_counter(), progress))

        began = time.perf_counter()
        await pool.render(job_id, spec(self._count), self._folder / job_id, on_progress)
        return told, time.perf_counter() - began


async def measure(subject: Subject, folder: Path) -> dict:
    """Return the figures of a profile: its starts, jobs alone and jobs that queue."""
    bench, starts, cold, yardstick = Bench(subject, folder), [], [], []
    for number in range(STARTS):
        yardstick.append(_imports("import torch" if not is_fake(subject.profile) else "import asyncio"))
        async with bench.pool() as (pool, ready_s):
            starts.append(ready_s)
            _, first_s = await bench.job(pool)
            cold.append(ready_s + first_s)
            if number < STARTS - 1:
                continue
            alone = [(await bench.job(pool))[1] for _ in range(LONE_JOBS)]
            queued = await asyncio.gather(*(bench.job(pool) for _ in range(QUEUED)))
    told = [of_job for of_job, _ in queued]
    idle = gaps(told)
    computing = [device_ended(job) - first_step_began(job) for job in told]
    return {
        "profile": subject.profile,
        "first_start_s": round(starts[0], 3),
        "start_s": round(statistics.median(starts[1:]), 3),
        "start_in_yardsticks": round(statistics.median(starts[1:]) / statistics.median(yardstick), 2),
        "warm_job_s": round(statistics.median(alone), 3),
        "cold_job_s": round(statistics.median(cold[1:]), 3),
        "cold_to_warm": round(statistics.median(cold[1:]) / statistics.median(alone), 2),
        "gap_s": round(statistics.median(idle), 4),
        "longest_gap_s": round(max(idle), 4),
        "handover_s": round(statistics.median(handovers(told)), 4),
        "gaps": len(idle),
        "device_s": round(statistics.median(computing), 3),
    }


async def handing_over(folder: Path) -> dict:
    """Return what a job costs more through pool, socket and process than its renderer alone, in turns."""
    subject = Subject("fake:0", folder / "data", None)
    bench, renderer = Bench(subject, folder / "pool"), FakeRenderer(subject.profile)
    alone, pooled = [], []
    async with bench.pool() as (pool, _):
        for number in range(ROUNDS):
            began = time.perf_counter()
            renderer.render(spec(number), folder / "alone" / str(number), lambda _: None)
            alone.append(time.perf_counter() - began)
            pooled.append((await bench.job(pool))[1])
    return {
        "jobs": ROUNDS,
        "renderer_ms": round(statistics.median(alone) * 1e3, 2),
        "pool_ms": round(statistics.median(pooled) * 1e3, 2),
        "more_ms": round(statistics.median(_differences(pooled, alone)) * 1e3, 2),
    }


def _differences(longer: Sequence[float], shorter: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(longer, shorter, strict=True)]


def _imports(statement: str) -> float:
    """How long a bare interpreter takes for it: what a start is read against on a busy machine."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began
