"""How much memory of each GPU is promised to which job. Pure bookkeeping: no GPU is asked.

Memory is reserved before a deal is agreed, because what NVML shows as free may already be promised. NVML is
the check on this ledger, not the ledger.
"""

from collections.abc import Mapping
from typing import Final

from node.errors import NodeError
from node.types import GpuUuid, JobId


class OverCapacity(NodeError):
    """The reservation does not fit, or the GPU is unknown. Nothing was reserved."""


class VramLedger:
    """Reservations in bytes per GPU and job. The sum on a GPU never exceeds its capacity."""

    def __init__(self, capacity_bytes: Mapping[GpuUuid, int]) -> None:
        for gpu, size in capacity_bytes.items():
            if size < 0:
                raise ValueError(f"the capacity of {gpu} is {size} bytes, which is negative")
        self._capacity: Final = dict(capacity_bytes)
        self._reserved: Final[dict[GpuUuid, dict[JobId, int]]] = {gpu: {} for gpu in capacity_bytes}

    def reserve(self, job_id: JobId, gpu: GpuUuid, size_bytes: int) -> None:
        """Promise memory to a job; the same promise again changes nothing, another size replaces the first.

        Raises OverCapacity when it does not fit beside the other jobs or the GPU is unknown, and ValueError
        for a size that is not positive.
        """
        if size_bytes <= 0:
            raise ValueError(f"job {job_id} asks for {size_bytes} bytes: a reservation must be positive")
        if gpu not in self._capacity:
            raise OverCapacity(f"GPU {gpu} is not one of this node's GPUs")
        others = sum(size for job, size in self._reserved[gpu].items() if job != job_id)
        if others + size_bytes > self._capacity[gpu]:
            raise OverCapacity(
                f"GPU {gpu} has {self._capacity[gpu] - others} bytes left, job {job_id} needs {size_bytes}"
            )
        self._reserved[gpu][job_id] = size_bytes

    def release(self, job_id: JobId) -> int:
        """Give back everything a job holds on any GPU; return how many bytes that were (0 if none)."""
        return sum(jobs.pop(job_id, 0) for jobs in self._reserved.values())

    def free_bytes(self, gpu: GpuUuid) -> int:
        """Return what can still be promised on a GPU (0 for an unknown one)."""
        return self._capacity.get(gpu, 0) - sum(self._reserved.get(gpu, {}).values())

    def held(self, job_id: JobId) -> Mapping[GpuUuid, int]:
        """Return what a job holds, in bytes per GPU."""
        return {gpu: jobs[job_id] for gpu, jobs in self._reserved.items() if job_id in jobs}

    def place(self, size_bytes: int) -> GpuUuid | None:
        """Return the GPU with the least room that still fits, or None; big GPUs stay free for big jobs."""
        fits = [gpu for gpu in self._capacity if self.free_bytes(gpu) >= size_bytes]
        return min(fits, key=lambda gpu: (self.free_bytes(gpu), gpu), default=None)
