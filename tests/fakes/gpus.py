"""GPUs as NVML would show them, and a process that could be somebody else's on one of them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from node.gpu.readings import GpuInfo
from node.types import GpuUuid

GB = 10**9


def card(index: int = 0, **changes: Any) -> GpuInfo:
    """Return a card that is idle, cool and nobody else's."""
    values: dict[str, Any] = {
        "name": "NVIDIA GeForce RTX 4090",
        "uuid": GpuUuid(f"GPU-{index}"),
        "memory_total_bytes": 24 * GB,
        "memory_free_bytes": 24 * GB,
        "memory_used_bytes": 0,
        "utilisation_percent": 0,
        "temperature_c": 40,
        "slowdown_temperature_c": 93,
        "power_w": 20.0,
        "power_limit_w": 450.0,
        "sm_clock_hz": 210_000_000,
        "sm_clock_max_hz": 3_105_000_000,
        "memory_clock_hz": 405_000_000,
        "ecc_enabled": True,
        "ecc_uncorrected_errors": 0,
        "mig_enabled": False,
        "own_memory_bytes": 0,
        "driver_version": "570.133.20",
        "cuda_version": "12.8",
    } | changes
    return GpuInfo(index=index, **values)


@contextmanager
def running_cat() -> Iterator[int]:
    """Run a process that has its name already; yield its id."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.read(1)
        yield process.pid
