"""What the dashboard costs the node: 50 open pages on a busy node, the first page's weight and time, the API.

Writes docs/benchmarks/dashboard.md and dashboard.json. The cost is processor time of the daemon's process, in
turns without and with readers under the same work, so that other load on the machine does not count as ours.
"""

import asyncio
import json
import os
import platform
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from playwright.async_api import async_playwright

from node import __version__
from node.app.sandbox import Sandbox, sandbox
from node.chain.devnet import REQUESTER, dev_signer
from scripts.benchmarks.node import MODULE, Daemon, answer_proposals, cpu_seconds, send

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 50
TURNS = 4
TURN_S = 20.0
STEP_MS = 500
"""As often as the node tells of a rendering's progress."""
RENDER_MS = 5 * STEP_MS
WARM_S = 8.0
REQUESTS = 60
LOADS = 9
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


@dataclass
class Readers:
    """Open live streams, read by this process and thrown away."""

    events: int = 0
    received_bytes: int = 0
    open: set[asyncio.Task[None]] = field(default_factory=set)

    async def read(self, url: str, ready: asyncio.Event) -> None:
        """Read one stream until cancelled, and say when it has begun."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(f"GET /api/v1/events HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.splitlines()[0]:
                raise SystemExit(f"the node refused a live stream: {head.splitlines()[0].decode()}")
            while chunk := await reader.read(1 << 16):
                ready.set()
                self.received_bytes += len(chunk)
                self.events += chunk.count(b"event: ")
        finally:
            writer.close()

    @asynccontextmanager
    async def reading(self, url: str, count: int) -> AsyncIterator[None]:
        """Hold ``count`` streams open."""
        begun = [asyncio.Event() for _ in range(count)]
        tasks = [asyncio.create_task(self.read(url, ready)) for ready in begun]
        try:
            await asyncio.gather(*(ready.wait() for ready in begun))
            self.events = self.received_bytes = 0
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def post_jobs(box: Sandbox, sender: str) -> None:
    """Keep the node busy: as one job is rendered the next is there."""
    number = 0
    while True:
        number += 1
        call = box.market.contracts.run_job(MODULE, (f"Prompt=a red fox in snow, number {number}",), sender)
        await send(box, call.to, call.data, sender)
        await asyncio.sleep(RENDER_MS / 1000 + 0.5)


async def until(daemon: Daemon, holds) -> dict:
    """Return the status as soon as it is as wanted."""
    while True:
        status = await daemon.status()
        if status is not None and holds(status):
            return status
        await asyncio.sleep(0.2)


async def turn(daemon: Daemon, pid: int, clients: int) -> dict:
    """Return what the daemon spends in one turn with so many readers."""
    readers = Readers()
    async with readers.reading(daemon.url, clients):
        await asyncio.sleep(1)
        readers.events = readers.received_bytes = 0
        before, began = cpu_seconds(pid), time.perf_counter()
        await asyncio.sleep(TURN_S)
        seconds = time.perf_counter() - began
        spent = cpu_seconds(pid) - before
    each = readers.events / clients / seconds if clients else None
    size = readers.received_bytes / clients / seconds if clients else None
    return {
        "share": spent / seconds,
        "events_per_second": each and round(each, 2),
        "bytes_per_second": size and round(size),
    }


async def answers(daemon: Daemon, job_id: str) -> dict:
    """Return how long the API takes to answer, in milliseconds."""
    paths = {
        "status": "/api/v1/status",
        "jobs": "/api/v1/jobs?limit=50",
        "job": f"/api/v1/jobs/{job_id}",
        "logs": f"/api/v1/jobs/{job_id}/logs",
        "gpu_history": "/api/v1/gpus/history",
    }
    found = {}
    async with aiohttp.ClientSession() as session:
        for name, path in paths.items():
            times = []
            for _ in range(REQUESTS):
                began = time.perf_counter()
                async with session.get(daemon.url + path) as answer:
                    answer.raise_for_status()
                    await answer.read()
                times.append((time.perf_counter() - began) * 1000)
            times.sort()
            found[name] = {
                "p50_ms": round(statistics.median(times), 2),
                "p95_ms": round(times[int(0.95 * len(times))], 2),
            }
    return found


async def first_page(daemon: Daemon) -> dict:
    """Return what a Chromium with an empty cache is sent for the first page, and when it shows the figures."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        raise SystemExit(
            "Chromium is missing. Debian: apt-get install chromium; Ubuntu: snap install chromium"
        )
    shown, loaded, sent, requests = [], [], [], []
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        for _ in range(LOADS):
            context = await chromium.new_context(reduced_motion="reduce")
            page = await context.new_page()
            sizes: list[int] = []
            cdp = await context.new_cdp_session(page)
            await cdp.send("Network.enable")
            # Pictures and videos of the finished jobs are content, fetched as they are looked at.
            ours: set[str] = set()
            cdp.on(
                "Network.responseReceived",
                lambda event, ours=ours: (
                    None if "/ipfs/" in event["response"]["url"] else ours.add(event["requestId"])
                ),
            )
            cdp.on(
                "Network.loadingFinished",
                lambda event, ours=ours, sizes=sizes: (
                    sizes.append(event["encodedDataLength"]) if event["requestId"] in ours else None
                ),
            )
            await page.goto(daemon.url)
            await page.wait_for_selector("#money strong")
            await page.wait_for_selector("#connection[data-state='live']")
            await page.wait_for_selector("#running .running")
            shown.append(await page.evaluate(PAINTED))
            loaded.append(
                await page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
            )
            sent.append(sum(sizes))
            requests.append(len(sizes))
            await context.close()
        await chromium.close()
    return {
        "bytes": round(statistics.median(sent)),
        "requests": round(statistics.median(requests)),
        "first_paint_ms": {"median": round(statistics.median(shown)), "best": round(min(shown))},
        "ready_ms": {"median": round(statistics.median(loaded)), "best": round(min(loaded))},
        "loads": LOADS,
    }


PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def unpacked_bytes() -> int:
    """Return what the first page and all that it names weigh without compression."""
    folder = ROOT / "node" / "web" / "static"
    html = (folder / "index.html").read_text()
    named = set(re.findall(r'"/static/([\w.]+)"', html))
    return len(html.encode()) + sum((folder / name).stat().st_size for name in named)


async def measure(directory: Path) -> dict:
    """Return all figures."""
    async with sandbox(block_time_s=1) as box:
        market, sender = box.market, dev_signer(REQUESTER).address
        approve = market.contracts.approve(market.addresses.payments, 10**24)
        await send(box, approve.to, approve.data, sender)
        many = {"max_open_deals": 1000, "max_open_proposals_per_requester": 1000, "initial_job_s": 5.0}
        daemon = Daemon(box, directory, admission=many, worker={"profile": f"fake:{RENDER_MS}"})
        async with daemon.running() as process:
            await until(daemon, lambda status: status["worker"]["ready"] and status.get("accepting"))
            working = [
                asyncio.create_task(post_jobs(box, sender)),
                asyncio.create_task(answer_proposals(box, set(), 10**6)),
            ]
            status = await until(daemon, lambda status: status["jobs"]["by_phase"].get("SUBMITTED", 0) > 1)
            await asyncio.sleep(WARM_S)
            turns: dict[int, list[dict]] = {0: [], CLIENTS: []}
            for number in range(TURNS * 2):
                clients = CLIENTS if number % 2 else 0
                turns[clients].append(await turn(daemon, process.pid, clients))
                print(f"  {clients} readers: {turns[clients][-1]}", flush=True)
            alone = await answers(daemon, "j1")
            readers = Readers()
            async with readers.reading(daemon.url, CLIENTS):
                crowded = await answers(daemon, "j1")
            page = await first_page(daemon)
            for task in working:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*working)
            done = (await daemon.status() or status)["jobs"]["by_phase"]
    without, with_readers = (
        statistics.median(one["share"] for one in turns[clients]) for clients in (0, CLIENTS)
    )
    return {
        "clients": CLIENTS,
        "turn_s": TURN_S,
        "turns": TURNS,
        "cpu_share_without": round(without, 4),
        "cpu_share_with": round(with_readers, 4),
        "cpu_share_of_clients": round(with_readers - without, 4),
        "each_turn": {str(clients): found for clients, found in turns.items()},
        "events_per_second": statistics.median(one["events_per_second"] for one in turns[CLIENTS]),
        "bytes_per_second": statistics.median(one["bytes_per_second"] for one in turns[CLIENTS]),
        "api_alone": alone,
        "api_with_clients": crowded,
        "first_page": page | {"bytes_unpacked_files": unpacked_bytes()},
        "jobs_submitted": done.get("SUBMITTED", 0),
    }


def report(figures: dict) -> str:
    page = figures["first_page"]
    rows = "\n".join(
        f"| {name} | {alone['p50_ms']} / {alone['p95_ms']} | {crowded['p50_ms']} / {crowded['p95_ms']} |"
        for (name, alone), crowded in zip(
            figures["api_alone"].items(), figures["api_with_clients"].values(), strict=True
        )
    )
    load = figures["load_before"]
    return f"""# The dashboard's cost

Made by `scripts/bench dashboard` with sdv-node {__version__}, {figures["machine"]}, {figures["date"]}. The machine had
a load average of {load} before it began: what is given in times is what a machine as busy as that makes of it,
what is given as processor time of the daemon's process is not touched by others.

| measure | value | target |
|---|---|---|
| processor time for {figures["clients"]} open dashboards on a busy node | {figures["cpu_share_of_clients"]:.1%} of a core | under 5 % |
| the node without them / with them | {figures["cpu_share_without"]:.1%} / {figures["cpu_share_with"]:.1%} | |
| events each of them gets | {figures["events_per_second"]:g} a second, {figures["bytes_per_second"] / 1000:.1f} kB | |
| first page, all that is sent, with an empty cache | {page["bytes"] / 1000:.1f} kB in {page["requests"]} requests | under 100 kB |
| its files without compression | {page["bytes_unpacked_files"] / 1000:.1f} kB | |
| first paint in Chromium on loopback, median / best of {page["loads"]} | {page["first_paint_ms"]["median"]} ms / {page["first_paint_ms"]["best"]} ms | 300 ms |
| page parsed and its scripts run, median / best | {page["ready_ms"]["median"]} ms / {page["ready_ms"]["best"]} ms | 300 ms |

The API, median and 95th percentile of {REQUESTS} requests in milliseconds:

| | nobody else reads | {figures["clients"]} dashboards are open |
|---|---|---|
{rows}

The node was at work all the time: a chain with 1 s blocks, a job every {(RENDER_MS + 500) / 1000:g} s, each rendered in {RENDER_MS / 1000:g} s
with its progress told every {STEP_MS} ms, published, submitted and journaled; {figures["jobs_submitted"]} results were submitted. A
turn without readers and a turn with them follow each other {figures["turns"]} times, {figures["turn_s"]:g} s each; the figures are medians,
and the cost is their difference.

What keeps it low: a change is asked for once and encoded once, whoever reads it; what changed several times before
it was told is told once; a step of a rendering is told without its job's history, which would cost the journal four
queries; and what waits for a reader is sent together.
"""


async def main() -> None:
    load = f"{os.getloadavg()[0]:.1f}"
    with tempfile.TemporaryDirectory() as root:
        directory = Path(root) / "node"
        directory.mkdir(mode=0o700)
        print(f"{TURNS * 2} turns of {TURN_S:g} s on a busy node, then the API and the page", flush=True)
        figures = {
            "machine": f"{os.cpu_count()} cores {platform.machine()}",
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "load_before": load,
        } | await measure(directory)
    folder = ROOT / "docs" / "benchmarks"
    (folder / "dashboard.json").write_text(json.dumps(figures, indent=2) + "\n")
    (folder / "dashboard.md").write_text(report(figures))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
