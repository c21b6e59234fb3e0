"""T18: many jobs wait for one worker. How long its device does nothing between two of them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from node.job.progress import Progress
from node.job.spec import parse_inputs
from node.types import JobId
from node.worker.pool import WorkerPool
from tests.chaos.harness.standing import MODULE

_LAST_ON_DEVICE = 4
"""The fake pipeline's last step before encoding."""


@dataclass(frozen=True)
class Queue:
    """The jobs as they began, and the times from a job's last step on the device to the next one's first."""

    order: list[int]
    gaps_s: tuple[float, ...]


async def queued_jobs(directory: Path, jobs: int, *, profile: str = "fake:0") -> Queue:
    """Ask for that many jobs at once and have them all rendered."""
    pool = WorkerPool(profile=profile, data_dir=directory / "data")
    began: dict[int, float] = {}
    left_device: dict[int, float] = {}

    def follow(number: int) -> Callable[[Progress], None]:
        def progressed(progress: Progress) -> None:
            now = time.monotonic()
            began.setdefault(number, now)
            if progress.step == _LAST_ON_DEVICE:
                left_device[number] = now

        return progressed

    async def one(number: int) -> None:
        spec = parse_inputs(MODULE, (f"Prompt=job {number}",))
        folder = directory / "jobs" / f"j{number}"
        files = await pool.render(JobId(folder.name), spec, folder, follow(number))
        if not (files.directory / files.outputs[0]).is_file():
            raise AssertionError(f"job {number} has no result")

    await pool.start()
    try:
        await pool.wait_ready()
        await asyncio.gather(*(one(number) for number in range(jobs)))
    finally:
        await pool.stop()
    order = sorted(began, key=began.__getitem__)
    gaps = (began[after] - left_device[before] for before, after in pairwise(order))
    return Queue(order, tuple(gaps))
