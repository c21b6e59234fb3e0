"""The same bytes from several processes: every step's input of both UNets, stills, latents and frames."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from scripts.benchmarks.pipeline import jobs
from scripts.benchmarks.pipeline.child import Request
from scripts.benchmarks.pipeline.measuring import release
from scripts.benchmarks.pipeline.processes import run_leg

_STEPS = jobs.LEAST_STEPS
_FRESH, _BALLAST = "fresh caches", "memory ballast"
# What a job needs beside the ballast, 10^9 bytes: the profile's need at full size, and a small part of it.
_LEFT_GB = {"full": 24.0, "small": 4.0, "tiny": 2.0}
_BLOCK = 2**30


def run(request: Request, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return each process's hashes and whether all of them are equal."""
    if request.part is not None:
        return _trace(request)
    # On a CPU nothing is compiled and no memory is laid out by hand: what is left to differ is the history.
    before = 10 if request.cuda else 3
    variations = ["first", f"after {before} other jobs"]
    if request.cuda:
        variations = ["first", _FRESH, f"after {before} other jobs", _BALLAST]
    found: dict[str, Any] = {"steps": _STEPS, "processes": {}, "equal": False}
    traces = []
    for variation in variations:
        with tempfile.TemporaryDirectory() as fresh:
            cache = Path(fresh) if variation == _FRESH else request.cache
            one = run_leg(request.document | {"part": variation, "before": before}, cache)
        traces.append(one.pop("trace", None))
        one.pop("machine", None)
        found["processes"][variation] = one
        found["left_gb"] = one.get("left_gb", found.get("left_gb"))
        found["hashes"] = len(traces[0] or ())
        found["equal"] = len(traces) == len(variations) and all(trace == traces[0] for trace in traces)
        keep(found)
        if "error" in one:
            raise RuntimeError(f"{variation}: {one['error']}")
    found["trace"] = traces[0]
    differing = [name for name in traces[0] or {} if len({trace.get(name) for trace in traces if trace}) > 1]
    return found | {"first_difference": differing[0] if differing else None}


def _trace(request: Request) -> dict[str, Any]:
    job = jobs.OwnJob(request)
    if str(request.part).startswith("after"):
        for seed in range(1, request.document["before"] + 1):
            job.run(_STEPS, seed=seed)
    found: dict[str, Any] = {}
    ballast: list[torch.Tensor] = []
    if request.part == _BALLAST:
        release(request.device)
        ballast = _fill(_LEFT_GB[request.scale.name])
        found["left_gb"] = round(torch.cuda.mem_get_info()[0] / 1e9, 2)
    trace = job.traced(_STEPS)
    del ballast
    text = "".join(f"{name}:{value}" for name, value in trace.items())
    return found | {"trace": trace, "short": hashlib.sha256(text.encode()).hexdigest()[:16]}


def _fill(left_gb: float) -> list[torch.Tensor]:
    """Take device memory until a job has ``left_gb`` for itself, its own models included."""
    own_bytes = torch.cuda.memory_allocated()
    blocks = []
    while torch.cuda.mem_get_info()[0] + own_bytes > left_gb * 1e9 + _BLOCK:
        blocks.append(torch.empty(_BLOCK, dtype=torch.uint8, device="cuda"))
    return blocks
