"""Time, memory and hashes, the same way for every contender.

On a GPU a time is the distance of two CUDA events on the compute stream; on a CPU it is the monotonic clock.
Contenders take turns, so that a drift of the machine reaches all of them, and the median is what is reported.
"""

import gc
import hashlib
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

Tensor = torch.Tensor


class Clock:
    """Marks moments on a device and tells the milliseconds between them."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"

    def mark(self) -> Any:
        """Return the moment the device reaches this point of the program."""
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def gaps_ms(self, marks: Sequence[Any]) -> list[float]:
        """Return the times between neighbouring marks; waits for the device to reach the last one."""
        if self._cuda and marks:
            marks[-1].synchronize()
        pairs = itertools.pairwise(marks)
        return [one.elapsed_time(two) if self._cuda else (two - one) * 1e3 for one, two in pairs]

    def wait(self) -> None:
        """Wait until the device has done everything it was asked."""
        if self._cuda:
            torch.cuda.synchronize()

    def time_ms(self, work: Callable[[], Any]) -> float:
        """Return the time of one call of ``work``."""
        start = self.mark()
        work()
        return self.gaps_ms([start, self.mark()])[0]

    def seconds(self, work: Callable[[], Any]) -> float:
        """Return the wall-clock time of one call of ``work``, the device's share included."""
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began


def median_ms(clock: Clock, work: Callable[[], Any], repeats: int, warm_up: int = 2) -> float:
    """Return the median time of ``work`` alone."""
    for _ in range(warm_up):
        work()
    return statistics.median(clock.time_ms(work) for _ in range(repeats))


def in_turns(contenders: dict[str, Callable[[], list[float]]], rounds: int) -> dict[str, list[float]]:
    """Let every contender run once per round, A B A B, and return all the times each one gave.

    A contender leaves out its own first time of a run; what it did before its first turn is its warm-up.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            times[name].extend(run())
    return times


def summary(times: Sequence[float]) -> dict[str, float | int]:
    """Return the median, the spread (interquartile range) and the count of times in milliseconds."""
    ordered = sorted(times)
    quarters = statistics.quantiles(ordered, n=4) if len(ordered) > 1 else [ordered[0]] * 3
    return {
        "ms": round(statistics.median(ordered), 4),
        "spread_ms": round(quarters[2] - quarters[0], 4),
        "samples": len(ordered),
    }


def release(device: torch.device) -> None:
    """Give unused device memory back, so that the next peak is the next contender's own."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peaks(device: torch.device) -> dict[str, float]:
    """Return the memory since ``release`` in 10^9 bytes; nothing on a CPU.

    ``allocated_gb`` is the most that tensors took at one time. ``reserved_gb`` is the most that the allocator
    held, with the private memory of CUDA graphs. ``used_gb`` is what the card lacks now, with the context,
    the libraries and whatever else runs on it.
    """
    if device.type != "cuda":
        return {}
    free, total = torch.cuda.mem_get_info()
    return {
        "allocated_gb": round(torch.cuda.max_memory_allocated() / 1e9, 3),
        "reserved_gb": round(torch.cuda.max_memory_reserved() / 1e9, 3),
        "used_gb": round((total - free) / 1e9, 3),
    }


def digest(tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's bytes in row-major order."""
    raw = tensor.detach().to("cpu").contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(raw.numpy().tobytes()).hexdigest()


def difference(one: Tensor, two: Tensor) -> dict[str, float | bool]:
    """Return how far two results are apart: largest difference, and relative to the norm of ``one``."""
    first, second = one.detach().float(), two.detach().float()
    gap = first - second
    return {
        "equal": bool(torch.equal(one, two)),
        "largest": float(gap.abs().max()),
        "relative": float(gap.norm() / first.norm()),
    }
