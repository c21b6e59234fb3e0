"""The whole daemon on a chain of its own: what a job takes besides rendering, processor time and memory."""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp

from node.app.sandbox import sandbox
from node.chain.devnet import REQUESTER, dev_signer
from scripts.benchmarks.node import MODULE, Daemon, answer_proposals, cpu_seconds, quantiles, send, when

JOBS = 30
JOBS_PER_SECOND = 1
"""One in a block, so that none waits for another: what is measured is what the daemon adds to each."""
RENDER_S = 0.1
IDLE_S = 15
SETTLE_S = 5
STEPS = (
    ("agreed_to_rendering", "DealMoved", "RenderStarted"),
    ("rendering", "RenderStarted", "Rendered"),
    ("rendered_to_published", "Rendered", "Published"),
)


async def measure(directory: Path) -> dict:
    """Return the figures of ``JOBS`` jobs, each rendered in ``RENDER_S``."""
    async with sandbox(block_time_s=1) as box:
        market, sender = box.market, dev_signer(REQUESTER).address
        approve = market.contracts.approve(market.addresses.payments, 10**24)
        await send(box, approve.to, approve.data, sender)
        many = {"max_open_deals": 1000, "max_open_proposals_per_requester": 1000, "initial_job_s": 1.0}
        profile = {"profile": f"fake:{round(RENDER_S * 1000)}"}
        daemon = Daemon(box, directory, chain={"poll_interval_s": 1.0}, admission=many, worker=profile)
        async with daemon.running() as process:
            began = time.perf_counter()
            await _until(daemon, lambda status: status["worker"]["ready"])
            start_s = time.perf_counter() - began
            await _until(daemon, lambda status: status.get("accepting"))
            await asyncio.sleep(SETTLE_S)
            before, idle_from = cpu_seconds(process.pid), time.perf_counter()
            await asyncio.sleep(IDLE_S)
            idle_share = (cpu_seconds(process.pid) - before) / (time.perf_counter() - idle_from)
            rss_idle = rss_bytes(process.pid)
            before, busy_from = cpu_seconds(process.pid), time.perf_counter()
            answering = asyncio.create_task(answer_proposals(box, set(), JOBS))
            for number in range(JOBS):
                call = market.contracts.run_job(MODULE, (f"Prompt=fox {number}",), sender)
                await send(box, call.to, call.data, sender)
                await asyncio.sleep(1 / JOBS_PER_SECOND)
            await answering
            await _until(daemon, lambda status: status["jobs"]["by_phase"].get("SUBMITTED", 0) == JOBS)
            busy_s = time.perf_counter() - busy_from
            spent_s = cpu_seconds(process.pid) - before - idle_share * busy_s
            rss_after = rss_bytes(process.pid)
            timelines = await _timelines(daemon)
        broadcast = {entry["intent"]: when(entry) for entry in daemon.logged("tx_broadcast")}
        steps = intervals(timelines)
        submitted = [
            broadcast[f"{job}:submit_result:1"] - _at(timeline, "Published")
            for job, timeline in timelines.items()
        ]
        whole = [
            broadcast[f"{job}:submit_result:1"] - _at(timeline, "DealMoved")
            for job, timeline in timelines.items()
        ]
        return {
            "jobs": JOBS,
            "render_s": RENDER_S,
            "start_s": round(start_s, 2),
            "idle_cpu_share": round(idle_share, 4),
            "rss_mb": round(rss_idle / 1e6, 1),
            "rss_after_mb": round(rss_after / 1e6, 1),
            "cpu_ms_per_job": round(spent_s / JOBS * 1e3, 1),
            "steps": {name: quantiles(found) for name, found in steps.items()}
            | {"published_to_broadcast": quantiles(submitted), "agreed_to_broadcast": quantiles(whole)},
            "overhead_s": round(statistics.median(whole) - RENDER_S, 3),
        }


def intervals(timelines: dict[str, Sequence[dict]]) -> dict[str, list[float]]:
    """Return the seconds between the events of ``STEPS`` in every job's timeline."""
    return {
        name: [_at(timeline, ends) - _at(timeline, begins) for timeline in timelines.values()]
        for name, begins, ends in STEPS
    }


def rss_bytes(pid: int) -> int:
    """Return a process's resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def _at(timeline: Sequence[dict], event: str) -> float:
    """Return when an event came first; the first move of a deal is that it is agreed."""
    found = next((step["at"] for step in timeline if step["event"] == event), None)
    if found is None:
        raise SystemExit(f"a job has no {event}; it has {', '.join(step['event'] for step in timeline)}")
    return found


async def _until(daemon: Daemon, holds: Callable[[dict], object]) -> None:
    while not ((status := await daemon.status()) and holds(status)):
        await asyncio.sleep(0.05)


async def _timelines(daemon: Daemon) -> dict[str, list[dict]]:
    found = {}
    async with aiohttp.ClientSession() as session:
        for number in range(JOBS):
            async with session.get(f"{daemon.url}/api/v1/jobs/j{number + 1}") as answer:
                described = await answer.json()
            found[described["job_id"]] = described["timeline"]
    return found
