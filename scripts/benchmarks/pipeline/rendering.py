"""A whole job of the renderer, files included: in a process that has just started, and in one that is warm."""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node.job.modules import NEWEST
from node.job.spec import JobSpec, parse_inputs
from node.pipeline.profiles import load_profile
from node.pipeline.renderer import Renderer
from scripts.benchmarks.pipeline.child import Request
from scripts.benchmarks.pipeline.processes import run_leg

_STEPS = 10
_WARM_JOBS = 5
_COLD_JOBS = 2
_PROFILE = "tiny"


def run(request: Request, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return the seconds of cold and warm jobs of the tiny profile, and their ratio."""
    if request.part == "cold":
        return _render(Path(request.document["folder"]), jobs=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm = _render(folder, jobs=_WARM_JOBS)
        document = request.document | {"part": "cold", "folder": str(folder)}
        cold = [run_leg(document, request.cache) for _ in range(_COLD_JOBS)]
    for one in cold:
        if "error" in one:
            raise RuntimeError(f"a cold job failed: {one['error']}")
    found: dict[str, Any] = {
        "steps": [_STEPS, _STEPS],
        "profile": _PROFILE,
        "warm_s": round(statistics.median(warm["seconds"]), 3),
        "warm_jobs": len(warm["seconds"]),
        "cold_s": round(statistics.median(one["process_s"] for one in cold), 3),
        "cold_jobs": len(cold),
        "same_frames": {one["frames"] for one in cold} == {warm["frames"]},
    }
    found["cold_over_warm"] = round(found["cold_s"] / found["warm_s"], 2)
    keep(found)
    return found


def _spec(seed: int) -> JobSpec:
    inputs = {"Prompt": "a red fox in snow at dawn", "Steps": str(_STEPS), "VideoSteps": str(_STEPS)}
    return parse_inputs(NEWEST.canonical, inputs | {"Seed": str(seed), "VideoSeed": str(seed)})


def _render(folder: Path, *, jobs: int) -> dict[str, Any]:
    """Render seed 1 and then others; every job is new, as a finished one would only be read."""
    renderer = Renderer.load(load_profile(_PROFILE), folder)
    seconds, frames = [], ""
    for seed in range(1, jobs + 1):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            began = time.perf_counter()
            finished = renderer.render(_spec(seed), Path(place), lambda _progress: None)
            seconds.append(time.perf_counter() - began)
            if seed == 1:
                frames = _frames_hash(finished.directory)
    # The first one also warms up: it counts only in a process that renders nothing else.
    return {"seconds": seconds[1:] or seconds, "frames": frames, "python": sys.version.split()[0]}


def _frames_hash(directory: Path) -> str:
    import json

    stages: dict[str, str] = json.loads((directory / "manifest.json").read_text())["stages"]
    return stages["frames_00001"]
