"""T18: a whole node with a long queue, a flood of offers and many dashboards at once.

The jobs are posted before the flood, whose offers name accounts that own nothing: what is shown is that they
hold up neither the queue nor those who look on.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import aiohttp

from scripts.benchmarks.node import SPAMMER
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.flood import FIRST_REAL, OFFERS_PER_TRANSACTION, Posting, Sender, account
from tests.chaos.harness.invariants import check
from tests.chaos.harness.kills import attended

OFFERS_PER_S = 200
DASHBOARDS = 50
LIMIT_S = 180.0
"""How long a run may take, beside what its jobs need at one a second."""
_TICK_S = 0.25


@dataclass(frozen=True)
class Load:
    """``gaps_s``: for how long the device did nothing between two jobs. ``updates``: of each dashboard."""

    findings: Findings
    gaps_s: tuple[float, ...]
    offers: int
    updates: tuple[int, ...]
    cut_off: int
    """Dashboards that did not stay connected to the end."""


async def busy_node(
    arena: Arena, seed: int, *, jobs: int, job_s: float, dashboards: int = DASHBOARDS
) -> Load:
    """Have the jobs done while offers pour in and dashboards look on."""
    await arena.rewind()
    provider = arena.provider(
        worker={"profile": f"fake:{round(job_s * 1000)}"},
        admission={
            "initial_job_s": job_s,
            "max_open_deals": jobs,
            "max_open_proposals": jobs,
            "max_open_proposals_per_requester": jobs,
            "max_waiting_offers": 2 * jobs,
            "max_waiting_offers_per_requester": jobs,
        },
    )
    device = provider.directory / "device.log"
    crowd = Crowd(arena, pulse=True)
    async with attended(arena, crowd, provider, limit_s=LIMIT_S + jobs):
        await provider.start(("tests.chaos.harness.hooks:time_device", [str(device)]))
        async with _dashboards(provider, dashboards) as seen, _flood(arena, seed) as flood:
            await crowd.post([f"load {seed} job {number}" for number in range(jobs)])
            # The flood replaces the contract that they are posted to.
            while len(crowd.prompts) < jobs:
                await asyncio.sleep(0.02)
            flood.begin()
            await provider.rest("PAID", jobs=jobs)
            cut_off = seen.cut_off
        await crowd.ended(jobs)
        asked = {number: prompt for number, prompt in crowd.prompts.items() if number < FIRST_REAL}
        found = await check(arena, provider, asked)
    found.check((found.deals, found.read) == (jobs, jobs), "T18", f"{found.deals} deals, {found.read} read")
    return Load(found, _gaps(device), flood.sent, tuple(seen.updates), cut_off)


class _Dashboards:
    def __init__(self, count: int) -> None:
        self.updates = [0] * count
        self.cut_off = 0

    async def look(self, session: aiohttp.ClientSession, url: str, number: int) -> None:
        async with session.get(f"{url}/api/v1/events") as answer:
            if answer.ok:
                async for line in answer.content:
                    self.updates[number] += line.startswith(b"data: {")
        self.cut_off += 1


@asynccontextmanager
async def _dashboards(provider: Provider, count: int) -> AsyncIterator[_Dashboards]:
    dashboards = _Dashboards(count)
    no_limit = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=no_limit, read_bufsize=2**20
    ) as session:
        looking = [
            asyncio.create_task(dashboards.look(session, provider.url, number)) for number in range(count)
        ]
        try:
            yield dashboards
        finally:
            for task in looking:
                task.cancel()
            await asyncio.wait(looking)


class _Flood:
    def __init__(self, arena: Arena, sender: Sender, seed: int) -> None:
        self._arena = arena
        self._sender = sender
        self._chance = random.Random(f"load {seed}")
        self._pouring: asyncio.Task[None] | None = None
        self.sent = 0

    def begin(self) -> None:
        self._pouring = asyncio.create_task(self._pour())

    async def end(self) -> None:
        if self._pouring is not None:
            self._pouring.cancel()
            await asyncio.wait([self._pouring])
            if not self._pouring.cancelled() and (error := self._pouring.exception()) is not None:
                raise error

    async def _pour(self) -> None:
        market = self._arena.market
        await market.rpc.call("anvil_setCode", [market.addresses.job_manager, SPAMMER])
        each = min(OFFERS_PER_TRANSACTION, round(OFFERS_PER_S * _TICK_S))
        began = time.monotonic()
        for tick in itertools.count(1):
            spammer = account("sp", self._chance.randrange(1000))
            await self._sender.give_gas_money([spammer])
            posting = Posting(spammer, spammer, each, FIRST_REAL + self.sent + each)
            await self._sender.send([posting.request(market.addresses.job_manager)])
            self.sent += each
            await asyncio.sleep(max(0.0, began + tick * _TICK_S - time.monotonic()))


@asynccontextmanager
async def _flood(arena: Arena, seed: int) -> AsyncIterator[_Flood]:
    await arena.market.rpc.call("anvil_autoImpersonateAccount", [True])
    async with aiohttp.ClientSession() as session:
        flood = _Flood(arena, Sender(arena.market.url, session), seed)
        try:
            yield flood
        finally:
            await flood.end()
            await arena.market.rpc.call("anvil_autoImpersonateAccount", [False])


def _gaps(log: Path) -> tuple[float, ...]:
    times = sorted(tuple(map(float, line.split())) for line in log.read_text().splitlines())
    return tuple(after[0] - before[1] for before, after in pairwise(times))
