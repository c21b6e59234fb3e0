"""T12: a disk takes no more at one durable boundary of a job, is read-only or slow, and then works again.

While it fails a second job is posted, which must not be taken on, and no file may stand half written under
its final name. When it works again both jobs end as if nothing had been, with everything paid once.
"""

import asyncio
import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.errors import NodeError
from node.publisher.cid import parse_cid
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.disk_hooks import BALLAST
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.invariants import check
from tests.chaos.harness.kills import BOUNDARIES, Boundary, attended

MIB = 1 << 20
NEVER_TAKEN_ON = {None, "SEEN"}
LIMIT_S = 120.0
ROOM = {"min_free_disk_gb": 0.002, "initial_job_gb": 0.0005}
"""Small enough for the small disks of these runs."""


@dataclass(frozen=True)
class Trouble:
    """How a disk fails, and which parts of the data directory are disks of their own."""

    name: str
    hook: str
    parts: tuple[str, ...] = ("",)
    size_bytes: int = 24 * MIB
    files: int = 4096
    lasts_s: tuple[float, float] = (0.5, 2.0)
    refuses: bool = True
    """Whether new work must be refused meanwhile."""


TROUBLES = (
    Trouble("full", "bytes"),
    Trouble("no inodes", "files"),
    Trouble("a full disk for the block store alone", "bytes", ("ipfs",), size_bytes=8 * MIB),
    Trouble("read-only", "read-only", ("ipfs", "jobs")),
    Trouble("slow", "slow", lasts_s=(2.0, 4.0), refuses=False),
)
PLAIN = [
    boundary
    for boundary in BOUNDARIES
    if boundary.side == "before"
    and not (boundary.claims or boundary.fails or boundary.hires or boundary.lapses)
]
"""The states of a job that is proposed for, rendered and paid."""


def why_not_here() -> str | None:
    """Return why small disks cannot be made on this machine, or None."""
    if os.geteuid() == 0 and shutil.which("mount"):
        return None
    return "mounting small disks needs root: run it as root, or under unshare --user --map-root-user --mount"


@contextmanager
def small_disk(at: Path, *, size_bytes: int, files: int) -> Iterator[None]:
    """Put a disk of this size at a folder; what the folder held is on it."""
    at.mkdir(parents=True, exist_ok=True)
    before = at.with_name(f".{at.name}.before")
    shutil.copytree(at, before)
    options = f"size={size_bytes},nr_inodes={files}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)], check=True)
    try:
        shutil.copytree(before, at, dirs_exist_ok=True)
        shutil.rmtree(before)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@contextmanager
def small_disks(data: Path, trouble: Trouble) -> Iterator[list[Path]]:
    """Put the disks of a trouble at their folders."""
    folders = [data / part for part in trouble.parts]
    if len(folders) == 1:
        with small_disk(folders[0], size_bytes=trouble.size_bytes, files=trouble.files):
            yield folders
        return
    with (
        small_disk(folders[0], size_bytes=trouble.size_bytes, files=trouble.files),
        small_disk(folders[1], size_bytes=trouble.size_bytes, files=trouble.files),
    ):
        yield folders


async def disk_fails(arena: Arena, trouble: Trouble, boundary: Boundary, seed: int) -> Findings:
    """One run. The seed says how long the trouble lasts."""
    chance = random.Random(f"{trouble.name} {boundary} {seed}")
    await arena.rewind()
    provider = arena.provider(market={"matching": "propose"}, admission=ROOM)
    crowd = Crowd(arena, pulse=True)
    told, over = provider.directory / "disk-fails", provider.directory / "disk-works"
    with small_disks(provider.data, trouble) as folders:
        async with attended(arena, crowd, provider, limit_s=LIMIT_S):
            places = [str(folder) for folder in folders]
            hook = [boundary.job, boundary.place, trouble.hook, places, str(told), str(over)]
            await provider.start(("tests.chaos.harness.disk_hooks:disk_fails_at", hook))
            await crowd.post([f"{trouble.name} {boundary.state} {seed}"])
            while not told.exists():
                _alive(provider)
                await asyncio.sleep(0.01)
            await crowd.post([f"meanwhile {seed}"])
            await asyncio.sleep(chance.uniform(*trouble.lasts_s))
            _alive(provider)
            # On a slow disk the answer comes behind every commit that waits, each of which takes a second.
            taken = await provider.job("j2") if trouble.refuses else None
            halves = half_files(provider.data)
            works_again(trouble, folders, over)
            await provider.rest("PAID", jobs=2)
            await crowd.ended(2)
            found = await check(arena, provider, crowd.prompts)
        halves += half_files(provider.data)
    phase = None if taken is None else taken["phase"]
    if trouble.refuses:
        found.check(phase in NEVER_TAKEN_ON, "T12", f"a job was taken on without room: it is {phase}")
    found.check(provider.starts == 1, "T12", "the node did not live through it")
    for half in halves:
        found.check(False, "T12", half)
    return found


def works_again(trouble: Trouble, folders: list[Path], over: Path) -> None:
    """End the trouble."""
    over.touch()
    for folder in folders:
        if trouble.hook == "read-only":
            subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        for ballast in folder.glob(f"{BALLAST}*"):
            ballast.unlink()


def half_files(data: Path) -> list[str]:
    """Return what is not whole although it has its final name: blocks, pins, results and finished stages."""
    found = [
        f"{block} is half a block"
        for block in data.glob("ipfs/blocks/*/*")
        if hashlib.sha256(block.read_bytes()).hexdigest() != block.name
    ]
    for pin in data.glob("ipfs/pins/*"):
        try:
            parse_cid(pin.read_text().strip())
        except NodeError as error:
            found.append(f"{pin} is half a pin: {error}")
    for result in data.glob("jobs/*/result"):
        found += _half_result(result)
    for done in data.glob("jobs/*/work/still.done"):
        stills = done.parent.rglob("still_*")
        found += [f"{done} tells of an empty {still}" for still in stills if not still.stat().st_size]
    return found


def _half_result(result: Path) -> list[str]:
    try:
        document: dict[str, Any] = json.loads((result / "manifest.json").read_text())
        wrong = [
            entry["path"]
            for entry in document["outputs"]
            if hashlib.sha256((result / entry["path"]).read_bytes()).hexdigest() != entry["sha256"]
        ]
        wrong += [name for name in ("exitCode", "stdout", "stderr") if not (result / name).exists()]
    except FileNotFoundError:
        # Moved away as a second copy while it was looked at, or never whole.
        return [f"{result} has no manifest"] if result.exists() else []
    except (OSError, ValueError, KeyError) as error:
        return [f"{result} is half a result: {error}"]
    return [f"{result}/{name} is not what the manifest says" for name in wrong]


def _alive(provider: Provider) -> None:
    if not provider.node.alive:
        raise AssertionError(f"the node ended with {provider.node.ended.result()}:\n{provider.tail()}")
