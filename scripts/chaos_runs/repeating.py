"""T20: the same job gives the same bytes, honest results are accepted, cheats are found out."""

import asyncio
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from scripts.chaos_runs.programme import Case, Run, Test
from tests.chaos.harness.arena import Arena

ROOT = Path(__file__).resolve().parents[2]
OF_A_CHANGE = ("--sets", "6", "--repeats", "4", "--others", "10", "--honest", "20", "--cheats")
FULL = ("--sets", "20", "--repeats", "20", "--others", "100", "--honest", "200", "--cheats", "--pairs")


async def _repeated(size: tuple[str, ...], _place: Arena, seed: int) -> Run:
    """Repeat jobs in one process, then render the same ones in a fresh one."""
    with tempfile.TemporaryDirectory(prefix="sdv-repeats-") as data:
        told = await _process("--data", data, "--seed", str(seed), *size)
        fresh = await _process("--data", data, "--seed", str(seed), *size[:2], "--cids")
    broken = [f"T20: {entry}" for entry in told["broken"]]
    if (fresh["cids"], fresh["class"]) != (told["cids"], told["class"]):
        broken.append(f"T20: a fresh process of class {fresh['class']} gave {fresh['cids']}")
    counts = {"honest results accepted": told["honest"], "cheats rejected": len(told["caught"])}
    return Run(broken, weight=told["runs"] + len(fresh["cids"]), counts=counts)


async def _process(*arguments: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.repeats", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"tests.repeats ended with {process.returncode}")
    return dict(json.loads(output))


TESTS = (
    Test(
        "T20",
        "jobs drawn from a seed repeat their bytes, are accepted when honest and rejected when not (full: "
        "every sampler with every schedule too)",
        (Case("", partial(_repeated, OF_A_CHANGE)),),
        {"ci": 1, "full": 1},
        full_cases=(Case("", partial(_repeated, FULL)),),
        lanes=1,
        limit_s=7200.0,
    ),
)
