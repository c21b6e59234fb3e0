"""Measuring this machine: a few small jobs through the node's own worker, learned from like paid ones.

The data directory is held meanwhile: beside a working node neither would measure what the card can do.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.admission.estimate import Estimate
from node.admission.run_times import RunTimes
from node.app.timing import run_times
from node.app.workers import worker_places, worker_settings
from node.clock import Clock, SystemClock
from node.config import Config
from node.job.modules import NEWEST
from node.job.progress import Progress
from node.job.spec import JobSpec, parse_inputs
from node.journal.database import take_lock
from node.types import JobId
from node.worker.pool import WorkerPool

Inputs = tuple[str, ...]

WARM_UP: Inputs = ("Steps=5", "VideoSteps=5", "Sampler=euler", "VideoSampler=euler")
SET: tuple[Inputs, ...] = (
    ("Steps=12", "VideoSteps=8", "Sampler=euler", "VideoSampler=euler"),
    ("Steps=8", "VideoSteps=5", "Sampler=heun", "VideoSampler=heun", "Frames=png"),
    ("Steps=16", "VideoSteps=6", "Sampler=dpmpp_2m", "VideoSampler=euler_ancestral"),
)
PROOF: Inputs = ("Steps=20", "VideoSteps=10", "Batching=2", "VideoSampler=dpm_2", "Scheduler=karras")
"""Unlike the jobs that were learned from: what is expected of it shows what the estimates are worth."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One job of the bench: its inputs, what was expected before it and the seconds it took."""

    inputs: Inputs
    expected: Estimate
    taken_s: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What was measured. ``usual`` is the estimate of a job with default inputs; ``load_s`` is of a start."""

    times: RunTimes
    load_s: float
    learned_from: tuple[Rendered, ...]
    proof: Rendered
    usual: Estimate


async def bench(
    config: Config,
    *,
    jobs: Sequence[Inputs] = SET,
    proof: Inputs = PROOF,
    on_job: Callable[[int, int], None] = lambda _number, _jobs: None,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
    clock: Clock | None = None,
) -> Bench:
    """Render ``jobs`` and store what they tell, then ``proof``. Raises InUse while a node works here.

    ``on_job`` hears of each job as it begins: its number and how many there are.
    """
    clock = clock or SystemClock()
    with take_lock(config.node.directory), tempfile.TemporaryDirectory(prefix="sdv-bench-") as folder:
        pool = WorkerPool(
            profile=config.worker.profile,
            data_dir=config.node.directory,
            settings=worker_settings(config.worker, load_attempts=1),
            clock=clock,
            places=(await worker_places(config.worker, config.node.directory))[:1],
        )
        times = run_times(config, determinism_class=lambda: pool.determinism_class, clock=clock)
        machine = _Machine(pool, times, Path(folder), clock, on_progress)
        began = clock.monotonic()
        await pool.start()
        try:
            await pool.wait_ready()
            load_s = clock.monotonic() - began
            on_job(0, len(jobs) + 1)
            await machine.render(WARM_UP, learn=False)
            measured = []
            for number, inputs in enumerate(jobs, 1):
                on_job(number, len(jobs) + 1)
                measured.append(await machine.render(inputs))
            on_job(len(jobs) + 1, len(jobs) + 1)
            proved = await machine.render(proof)
        finally:
            await pool.stop()
    usual = times.estimate(parse_inputs(NEWEST.canonical, ()))
    return Bench(times, load_s, tuple(measured), proved, usual)


@dataclass(slots=True)
class _Machine:
    """The worker, one job after another, each in a directory of its own."""

    pool: WorkerPool
    times: RunTimes
    folder: Path
    clock: Clock
    on_progress: Callable[[Progress], None]
    count: int = 0

    async def render(self, inputs: Inputs, *, learn: bool = True) -> Rendered:
        spec = self._spec(inputs)
        run = self.times.run(spec)
        began: float | None = None

        def told(progress: Progress) -> None:
            nonlocal began
            now = self.clock.monotonic()
            began = now if began is None else began
            run.told(progress, now)
            self.on_progress(progress)

        job_id = JobId(f"bench{self.count}")
        files = await self.pool.render(job_id, spec, self.folder / job_id, told)
        ended = self.clock.monotonic()
        run.ended(ended)
        taken_s = ended - (ended if began is None else began)
        if learn:
            await self.times.learn(run, taken_s, files.determinism_class)
        return Rendered(inputs, run.expected, taken_s)

    def _spec(self, inputs: Inputs) -> JobSpec:
        self.count += 1
        return parse_inputs(NEWEST.canonical, ("Prompt=a lighthouse at dusk", f"Seed={self.count}", *inputs))
