"""T10, the driver's part: a card gets hot, crowded, broken or lost while jobs wait for it or run on it.

The driver is the C stub: what it cannot show is a card that really computes wrong. The worker is the fake
pipeline with the need of a card.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.invariants import check
from tests.chaos.harness.kills import attended
from tests.fakes.nvml.library import StubDriver, build

TOTAL_BYTES = 24 * 2**30
MOMENTS = ("start", "rendering")
"""When it begins: before the node does, or under the first job."""


@dataclass(frozen=True)
class Trouble:
    """What the driver tells, and the cause the node gives for taking nothing on; None if it goes on.

    ``lasts``: the node keeps away from the card until it is started again after the operator's remedy.
    """

    name: str
    lines: Mapping[str, object]
    cause: str | None
    lasts: bool = False

    def __str__(self) -> str:
        return self.name


TROUBLES = (
    Trouble("too hot", {"0.temperature": 95}, "hot"),
    Trouble("memory taken", {"0.used": 20 * 10**9, "0.process.0": f"999999991 {17 * 10**9}"}, "memory"),
    Trouble("Xid 79", {"xid.0": "0 79"}, "xid", lasts=True),
    Trouble("driver asks for a reset", {"0.recovery": 1}, "recovery"),
    Trouble("uncorrectable memory error", {"0.uncorrected": 1}, "ecc"),
    Trouble("MIG", {"0.mig": 1}, "mig"),
    Trouble("lost", {"0.memory!": 15}, "fault"),
    Trouble("vanished", {"gpus": 0}, "fault"),
    Trouble("throttled", {"0.throttle": 0x40}, None),
)
AT_START_ONLY = (
    Trouble("no driver", {"init!": 9}, "fault"),
    Trouble("driver newer than its library", {"init!": 18}, "fault"),
)


async def card_trouble(arena: Arena, trouble: Trouble, moment: str, seed: int) -> Findings:
    """One job before or under the trouble, one that is asked for during it. Both are paid once it is over."""
    await arena.rewind()
    provider = arena.provider(worker={"profile": "fake-gpu:300"}, gpu={"poll_interval_s": 0.2})
    driver = StubDriver(_library(arena), provider.directory / "gpus")
    stub = ("tests.chaos.harness.hooks:stub_driver", [*map(str, driver.files)])
    prompts = [f"{trouble.name} {moment} {seed} {number}" for number in range(2)]
    crowd = Crowd(arena, pulse=True)
    under: list[str] = []
    async with attended(arena, crowd, provider):
        watch = asyncio.create_task(_watch(provider, under))
        if moment == "start":
            driver.set(dict(trouble.lines))
        await provider.launch(stub)
        if moment == "rendering":
            await _reached(provider, "j1", "RENDERING", after=crowd.post(prompts[:1]))
            driver.set(dict(trouble.lines))
            prompts = prompts[1:]
        if trouble.cause is None:
            await crowd.post(prompts)
        else:
            await _shut(provider, trouble.cause)
            await crowd.post(prompts)
            await _waits(provider, len(prompts))
            under += await _taken(provider, waiting=len(prompts))
            driver.clear()
            if trouble.lasts:
                await provider.kill()
                await provider.launch(stub)
        await provider.rest("PAID", jobs=2)
        watch.cancel()
        await asyncio.wait([watch])
        await crowd.ended(2)
        found = await check(arena, provider, crowd.prompts)
    found.check(not under, "T10", f"{trouble.name} at {moment}: {'; '.join(under)}")
    found.check((found.deals, found.read) == (2, 2), "T10", f"{found.deals} deals, {found.read} results read")
    return found


def _library(arena: Arena) -> Path:
    folder = arena.directory / "nvml"
    # Known by the name that is asked for, it is found wherever it lies once it is loaded.
    return folder if folder.exists() else build(folder, "-Wl,-soname,libnvidia-ml.so.1")


async def _watch(provider: Provider, wrong: list[str]) -> None:
    """Note whenever the node tells a capacity that cannot be."""
    while True:
        for gpu in (await provider.status() or {}).get("gpus", []):
            promised = gpu["promised_bytes"]
            if not 0 <= promised <= TOTAL_BYTES:
                wrong.append(f"{promised} bytes of a card with {TOTAL_BYTES} are promised")
        await asyncio.sleep(0.02)


async def _reached(provider: Provider, job_id: str, phase: str, *, after: Any) -> None:
    await _until(provider, lambda status: status.get("accepting"))
    await after
    while (job := await provider.job(job_id)) is None or job["phase"] != phase:
        await asyncio.sleep(0.01)


async def _shut(provider: Provider, cause: str) -> None:
    def shut(status: dict[str, Any]) -> bool:
        told = [each["cause"] for gpu in status.get("gpus", []) for each in gpu["shut"]]
        gate = status.get("gpu_gate") or {}
        return not gate.get("open", True) and (cause in told or (cause == "fault" and not told))

    await _until(provider, shut)


async def _waits(provider: Provider, offers: int) -> None:
    while provider.log.read_text().count('"offer_waits"') < offers:
        await asyncio.sleep(0.02)


async def _taken(provider: Provider, *, waiting: int) -> list[str]:
    phases = await provider.phases()
    if phases.get("SEEN", 0) == waiting:
        return []
    return [f"{waiting} offers were to wait, there are {phases}"]


async def _until(provider: Provider, holds: Any) -> None:
    while (status := await provider.status()) is None or not holds(status):
        if not provider.node.alive:
            raise AssertionError(f"the node ended:\n{provider.tail()}")
        await asyncio.sleep(0.02)
