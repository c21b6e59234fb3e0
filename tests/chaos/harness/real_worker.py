"""T4 and T10 with the real pipeline: a worker of ``tiny`` is killed, freezes or crashes in a job."""

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from node.job.progress import Progress
from node.job.spec import parse_inputs
from node.publisher.unixfs import cid_of
from node.types import JobId
from node.worker.deaths import Cause
from node.worker.pool import WorkerPool
from node.worker.settings import WorkerSettings
from tests.chaos.harness.standing import MODULE

STRIKES = {
    signal.SIGKILL: Cause.SIGNAL,
    signal.SIGSEGV: Cause.SIGNAL,
    signal.SIGSTOP: Cause.SILENCE,
}
"""What is done to the process, and what the node takes it for."""

INPUTS = ("Steps=5", "VideoSteps=5")
REPORTS = 10
"""A job with these inputs tells of at least so many steps on its device."""

_SETTINGS = WorkerSettings(ping_interval_s=0.1, ping_s=3.0, restart_backoff_s=0.1, mourning_s=0.1)


@dataclass(frozen=True)
class Struck:
    """``back_s``: from the strike until the next worker had its models loaded."""

    broken: list[str]
    back_s: float


async def struck_worker(folder: Path, data_dir: Path, how: signal.Signals, seed: int) -> Struck:
    """Render one job undisturbed and once more with a strike at a random step; compare the CIDs."""
    at = random.Random(f"{how.name} {seed}").randint(1, REPORTS)
    spec = parse_inputs(MODULE, (f"Prompt=struck {seed}", *INPUTS))
    causes: list[Cause] = []
    pool = WorkerPool(profile="tiny", data_dir=data_dir, settings=_SETTINGS, on_death=causes.append)
    reports: list[Progress] = []
    struck_at = 0.0

    def strike(progress: Progress) -> None:
        nonlocal struck_at
        reports.append(progress)
        if len(reports) == at:
            struck_at = time.monotonic()
            os.kill(pool.status()["pid"], how)

    await pool.start()
    try:
        undisturbed = await pool.render(JobId("undisturbed"), spec, folder / "undisturbed", lambda _: None)
        striking = asyncio.create_task(pool.render(JobId("struck"), spec, folder / "struck", strike))
        while not causes:
            await asyncio.sleep(0.01)
        await pool.wait_ready()
        back_s = time.monotonic() - struck_at
        disturbed = await striking
    finally:
        await pool.stop()
    broken = []
    if causes != [STRIKES[how]]:
        broken.append(f"T10: {how.name} at step {at} was taken for {causes}")
    if cid_of(undisturbed.directory) != cid_of(disturbed.directory):
        broken.append(f"I7: another CID after {how.name} at step {at}")
    return Struck(broken, back_s)
