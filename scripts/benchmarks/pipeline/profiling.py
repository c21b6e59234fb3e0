"""Where the time of one step of SVD's network goes, kernel by kernel, for diffusers eager and for ours."""

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from scripts.benchmarks.pipeline import steps
from scripts.benchmarks.pipeline.child import Request
from scripts.benchmarks.pipeline.networks import build

_SHOWN = 30
# What torch's attention kernels have in their names; the memory-efficient one must never run.
_ATTENTIONS = {"cudnn": ("cudnn", "sdpa"), "flash": ("flash",), "efficient": ("fmha_cutlass", "efficient")}


def run(request: Request, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return the kernels that take the most time, and which attention kernels ran."""
    unet = build(request.scale, "clip/unet", request.device, request.dtype)
    found: dict[str, Any] = {}
    for name, make in steps.clip_contenders(request, unet).items():
        if name == "compiled":
            continue
        contender = make()
        contender.run(2, lambda: None)
        found[name] = kernels(contender.call, request.device)
        keep(found)
    return found


def kernels(call: Callable[[], Any], device: torch.device) -> dict[str, Any]:
    """Return the kernels of one call by the time they took, in milliseconds."""
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CUDA] if cuda else [ProfilerActivity.CPU]
    with profile(activities=activities) as recorded:
        call()
        if cuda:
            torch.cuda.synchronize()
    rows = []
    for event in recorded.key_averages():
        microseconds = event.self_device_time_total if cuda else event.self_cpu_time_total
        if microseconds > 0:
            rows.append({"name": event.key, "ms": round(microseconds / 1e3, 3), "calls": event.count})
    rows.sort(key=lambda row: -row["ms"])
    names = [row["name"].lower() for row in rows]
    return {
        "ms": round(sum(row["ms"] for row in rows), 3),
        "calls": sum(row["calls"] for row in rows),
        "attention": [
            kind
            for kind, marks in _ATTENTIONS.items()
            if any(mark in name for mark in marks for name in names)
        ],
        "kernels": rows[:_SHOWN],
    }
