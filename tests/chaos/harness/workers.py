"""T4 and T10: workers, the IPFS daemon or the RPC endpoint die instead of the node; GPUs fail in many ways.

Each returns the figures of one run, judged from the chain and the journal. Everything random comes from the
seed.
"""

import asyncio
import os
import random
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass
from typing import Any

from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.invariants import check
from tests.chaos.harness.kills import attended
from tests.fakes.ipfs_services import FakeKubo, serving
from tests.faults.rpc import FaultProxy

HURRY_WORKERS = ("tests.chaos.harness.hooks:hurry_workers", [])
HURRY_PUBLISHING = ("tests.chaos.harness.hooks:hurry_publishing", [])
DEALS = 4
SLOTS = 2
REPLACED_WITHIN_S = 30.0


@dataclass(frozen=True)
class GpuFault:
    """A fault of the fake pipeline. ``costs``: the worker is lost with it."""

    word: str
    costs: bool = True

    @property
    def cause(self) -> str:
        """What a quarantine says of it."""
        return _CAUSES[self.word.partition("@")[0]]


_CAUSES = {
    "memory": "it ran out",
    "cuda": "illegal memory access",
    "crash": "it ended with exit code",
    "segv": "it ended with exit code",
    "hang": "no progress",
    "freeze": "did not answer",
    "encoder": "encoder was killed",
    "garbage": "is not what its manifest says",
}
"""How a forked worker ended is known to the nursery alone, so that signals show as an exit code here."""

GPU_FAULTS = (
    *(GpuFault(f"memory@{stage}") for stage in ("still", "frames", "encoded")),
    *(GpuFault(f"cuda@{stage}") for stage in ("still", "frames")),
    *(GpuFault(f"hang@{stage}") for stage in ("still", "frames", "encoded")),
    *(GpuFault(f"crash@{stage}") for stage in ("still", "frames")),
    GpuFault("segv"),
    GpuFault("freeze"),
    GpuFault("garbage"),
    GpuFault("encoder", costs=False),
)


@dataclass(frozen=True)
class Supervised:
    """What a run showed. ``absent_s``: for how long each lost worker had no successor, at most."""

    findings: Findings
    killed: int = 0
    replaced: int = 0
    absent_s: tuple[float, ...] = ()


async def worker_kills(arena: Arena, seed: int, *, deals: int = DEALS) -> Supervised:
    """T4: workers die at random moments, each job's at most once; every deal is paid."""
    chance = random.Random(f"worker {seed}")
    await arena.rewind()
    # Long enough that a killer who has to ask for the status first finds them at work.
    provider = arena.provider(worker={"profile": f"fake:{chance.randint(400, 1000)}", "slots": SLOTS})
    crowd = Crowd(arena, pulse=True)
    async with attended(arena, crowd, provider):
        await provider.start(HURRY_WORKERS)
        await crowd.post([f"worker {seed} deal {number}" for number in range(deals)])
        watch = asyncio.create_task(_watch(provider))
        killed: list[int] = []
        killing = asyncio.create_task(_kill_now_and_then(provider, killed, chance))
        await provider.rest("PAID", jobs=deals)
        killing.cancel()
        watch.cancel()
        await asyncio.wait([killing, watch])
        replaced = await _replacements(provider)
        await crowd.ended(deals)
        found = await check(arena, provider, crowd.prompts)
    _all_paid(found, deals)
    # The last one may not have its successor yet when everything is paid.
    found.check(
        replaced >= len(killed) - 1, "T4", f"{len(killed)} workers were killed and {replaced} replaced"
    )
    return Supervised(found, len(killed), replaced, await _absences(watch))


async def ipfs_kills(arena: Arena, seed: int) -> Supervised:
    """T4: the Kubo daemon that keeps a second copy is down at random moments; every deal is paid."""
    chance = random.Random(f"ipfs {seed}")
    await arena.rewind()
    async with AsyncExitStack() as stack:
        kubo = await stack.enter_async_context(serving(FakeKubo()))
        kept = [{"name": "kubo", "api": kubo.url, "gateway": kubo.url, "timeout_s": 5.0}]
        provider = arena.provider(
            worker={"profile": "fake:40"}, ipfs={"copies_required": 2, "deadline_margin_s": 300, "kubo": kept}
        )
        crowd = Crowd(arena, pulse=True)
        async with attended(arena, crowd, provider):
            await provider.start(HURRY_PUBLISHING)
            await crowd.post([f"ipfs {seed} deal {number}" for number in range(2)])
            deaths = chance.randint(1, 4)
            for _ in range(deaths):
                await asyncio.sleep(chance.uniform(0.0, 0.4))
                kubo.fault = "down"
                await asyncio.sleep(chance.uniform(0.0, 0.4))
                kubo.fault = ""
            await provider.rest("PAID", jobs=2)
            await crowd.ended(2)
            found = await check(arena, provider, crowd.prompts)
    _all_paid(found, 2)
    found.check(bool(kubo.pinned), "T4", "the daemon has no copy")
    return Supervised(found, deaths)


async def rpc_kills(arena: Arena, seed: int) -> Supervised:
    """T4: the only RPC endpoint dies at random moments and comes back; every deal is paid."""
    chance = random.Random(f"rpc {seed}")
    await arena.rewind()
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy(arena.market.url, seed=seed))
        provider = arena.provider(
            chain={"rpc_urls": [proxy.url], "rpc_timeout_s": 0.5, "resubmit_after_s": 1.0},
            worker={"profile": "fake:40"},
        )
        crowd = Crowd(arena, pulse=True)
        async with attended(arena, crowd, provider):
            if not await provider.start():
                raise AssertionError(f"the node does not start:\n{provider.tail()}")
            await crowd.post([f"rpc {seed} deal {number}" for number in range(2)])
            deaths = chance.randint(1, 4)
            for _ in range(deaths):
                await asyncio.sleep(chance.uniform(0.0, 0.4))
                await proxy.stop()
                await asyncio.sleep(chance.uniform(0.0, 0.4))
                await proxy.start()
            await provider.rest("PAID", jobs=2)
            await crowd.ended(2)
            found = await check(arena, provider, crowd.prompts)
    _all_paid(found, 2)
    return Supervised(found, deaths)


async def gpu_faults(arena: Arena, faults: Sequence[GpuFault], seed: int, *, lasting: bool) -> Supervised:
    """T10: a job for each fault, and two without any beside them.

    What fails once is delivered all the same. Inputs that fail each time (``lasting``) are in quarantine
    after the second time, and their deal is failed honestly. The other jobs are paid either way.
    """
    await arena.rewind()
    provider = arena.provider(worker={"profile": "fake:20", "slots": SLOTS})
    crowd = Crowd(arena, pulse=True)
    prompts = []
    for fault in faults:
        kind, at, stage = fault.word.partition("@")
        prompts.append(f"fault:{kind}{'' if lasting else '-once'}{at}{stage} seed {seed}")
    prompts += [f"unharmed {seed} {number}" for number in range(2)]
    paid = 2 if lasting else len(prompts)
    async with attended(arena, crowd, provider, limit_s=120.0):
        await provider.start(HURRY_WORKERS)
        await crowd.post(prompts)
        watch = asyncio.create_task(_watch(provider))
        await provider.rest("PAID", "FAILED", jobs=len(prompts))
        await _both_ready(provider)
        watch.cancel()
        await asyncio.wait([watch])
        phases = await provider.phases()
        status = await provider.status() or {}
        await crowd.ended(phases.get("PAID", 0))
        found = await check(arena, provider, crowd.prompts)
    found.check(
        phases.get("PAID", 0) == paid,
        "T10",
        f"{paid} jobs were to be paid, there are {phases}: {_why_failed(provider, crowd)}",
    )
    _garbage_is_computed_again(faults, crowd, found)
    replaced = int(status["worker"]["replacements"])
    found.check(replaced > 0 or not any(fault.costs for fault in faults), "T10", "no worker was replaced")
    if lasting:
        failed = phases.get("FAILED", 0)
        found.check(failed == len(faults), "T10", f"{len(faults)} jobs were to be failed, there are {phases}")
        with closing(provider.journal()) as journal:
            _quarantined(journal, dict(zip(prompts, faults, strict=False)), crowd, found)
        count = status["worker"]["quarantined"]
        found.check(count == len(faults), "T10", f"{count} of {len(faults)} inputs are in quarantine")
    absent_s = await _absences(watch)
    slowest = max(absent_s, default=0.0)
    found.check(slowest <= REPLACED_WITHIN_S, "T10", f"a worker was away for {slowest:.1f} s")
    return Supervised(found, replaced=replaced, absent_s=absent_s)


def _why_failed(provider: Provider, crowd: Crowd) -> list[str]:
    """Return what each job that was failed says, after its prompt."""
    with closing(provider.journal()) as journal:
        failed = journal.execute("SELECT job_id, body FROM jobs WHERE phase = 'FAILED'").fetchall()
    prompts = {f"j{number}": prompt for number, prompt in crowd.prompts.items()}
    return [f"{prompts.get(job_id)}: {body}" for job_id, body in failed]


def _garbage_is_computed_again(faults: Sequence[GpuFault], crowd: Crowd, found: Findings) -> None:
    """A result that is none is rendered anew from nothing: with it the job's stages were given up."""
    spoilt = {f"j{number}" for number, prompt in crowd.prompts.items() if "fault:garbage" in prompt}
    if any(fault.word == "garbage" for fault in faults):
        found.broken[:] = [
            text for text in found.broken if not (text.startswith("I7: ") and text.split()[1] in spoilt)
        ]


def _quarantined(
    journal: sqlite3.Connection, asked: dict[str, GpuFault], crowd: Crowd, found: Findings
) -> None:
    """Each job that was failed says by what its inputs cost two workers."""
    bodies = dict(journal.execute("SELECT job_id, body FROM jobs").fetchall())
    for number, prompt in crowd.prompts.items():
        if (fault := asked.get(prompt)) is not None:
            body = bodies[f"j{number}"]
            told = "quarantined" in body and fault.cause in body
            found.check(told, "T10", f"{fault.word}: the job does not say that it is in quarantine: {body}")


def _all_paid(found: Findings, deals: int) -> None:
    if (found.deals, found.lost, found.read) != (deals, 0, deals):
        found.broken.append(f"I1: {found.deals} deals, {found.lost} lost, {found.read} results read")


async def _kill_now_and_then(provider: Provider, killed: list[int], chance: random.Random) -> None:
    """Kill the worker of jobs that have not lost one yet: two would be their quarantine."""
    hit: set[str] = set()
    while True:
        await asyncio.sleep(chance.uniform(0.0, 0.2))
        for slot in await _slots(provider):
            if not (slot["pid"] and slot["rendering"] and chance.random() < 0.7):
                continue
            with suppress(ProcessLookupError):
                # Stopped, it neither ends the job it has on its device nor is it given another one: what the
                # status tells now is what the kill will cost.
                os.kill(slot["pid"], signal.SIGSTOP)
                jobs = await _jobs_of(provider, slot["pid"])
                if jobs and not jobs & hit:
                    hit |= jobs
                    os.kill(slot["pid"], signal.SIGKILL)
                    killed.append(slot["pid"])
                    break
                os.kill(slot["pid"], signal.SIGCONT)


async def _jobs_of(provider: Provider, pid: int) -> set[str]:
    """Return the jobs of a worker, none if it has none on its device."""
    for slot in await _slots(provider):
        if slot["pid"] == pid and slot["rendering"]:
            return {job["job"] for job in (slot["rendering"], slot["encoding"]) if job}
    return set()


async def _watch(provider: Provider) -> list[float]:
    """Note for how long each slot was without a worker, until cancelled."""
    since: dict[str, float] = {}
    absent: list[float] = []
    try:
        while True:
            now = time.monotonic()
            for slot in await _slots(provider):
                if not slot["ready"]:
                    since.setdefault(slot["name"], now)
                elif slot["name"] in since:
                    absent.append(now - since.pop(slot["name"]))
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        return absent


async def _absences(watch: "asyncio.Task[list[float]]") -> tuple[float, ...]:
    return tuple(watch.result())


async def _slots(provider: Provider) -> list[dict[str, Any]]:
    status = await provider.status()
    return list(status["worker"]["slots"]) if status else []


async def _both_ready(provider: Provider) -> None:
    while not (slots := await _slots(provider)) or not all(slot["ready"] for slot in slots):
        await asyncio.sleep(0.05)


async def _replacements(provider: Provider) -> int:
    return sum(int(slot["replacements"]) for slot in await _slots(provider))
