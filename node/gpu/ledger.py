"""How much memory of each GPU is promised to which job. Pure bookkeeping: no GPU is asked.

Memory is reserved before a deal is agreed, because what NVML shows as free may already be promised. NVML is
the check on this ledger, not the ledger. Jobs of one *slot* (a worker with its models) take turns and need
the memory of the largest of them; slots beside each other add up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node.errors import NodeError
from node.types import GpuUuid, JobId


class OverCapacity(NodeError):
    """The reservation does not fit, or the GPU is unknown. Nothing was reserved."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a job asks for: its size, and the slot in which it takes its turn (None: one of its own)."""

    size_bytes: int
    slot: str | None = None


class VramLedger:
    """Reservations in bytes per GPU and job.

    No reservation takes a GPU beyond its capacity. A capacity that shrinks under what is promised already
    breaks no promise: nothing more is given there until it fits again.
    """

    def __init__(self, capacity_bytes: Mapping[GpuUuid, int]) -> None:
        self._capacity: dict[GpuUuid, int] = {}
        self._reserved: Final[dict[GpuUuid, dict[JobId, Claim]]] = {}
        self.resize(capacity_bytes)

    def resize(self, capacity_bytes: Mapping[GpuUuid, int]) -> None:
        """Take over what each GPU has for this node now. What was promised on one that is gone is let go."""
        for gpu, size in capacity_bytes.items():
            if size < 0:
                raise ValueError(f"the capacity of {gpu} is {size} bytes, which is negative")
        self._capacity = dict(capacity_bytes)
        for gone in self._reserved.keys() - capacity_bytes.keys():
            del self._reserved[gone]
        for gpu in capacity_bytes:
            self._reserved.setdefault(gpu, {})

    def settle(self, claims: Mapping[JobId, Claim]) -> tuple[JobId, ...]:
        """Make the reservations those of exactly these jobs; return the jobs that fit nowhere.

        What is held stays where it is; new jobs are placed in the order given. Again, it changes nothing.
        """
        for jobs in self._reserved.values():
            for job_id in [job_id for job_id, held in jobs.items() if claims.get(job_id) != held]:
                del jobs[job_id]
        homeless = []
        for job_id, claim in claims.items():
            if self.held(job_id):
                continue
            gpu = self.place(claim.size_bytes, claim.slot)
            if gpu is None:
                homeless.append(job_id)
            else:
                self.reserve(job_id, gpu, claim.size_bytes, claim.slot)
        return tuple(homeless)

    def reserve(self, job_id: JobId, gpu: GpuUuid, size_bytes: int, slot: str | None = None) -> None:
        """Promise memory to a job; the same promise again changes nothing, another size replaces the first.

        Raises OverCapacity when it does not fit beside the other jobs or the GPU is unknown, and ValueError
        for a size that is not positive.
        """
        if size_bytes <= 0:
            raise ValueError(f"job {job_id} asks for {size_bytes} bytes: a reservation must be positive")
        if gpu not in self._capacity:
            raise OverCapacity(f"GPU {gpu} is not one of this node's GPUs")
        beside = self._beside(gpu, slot or job_id)
        if beside + size_bytes > self._capacity[gpu]:
            left = max(0, self._capacity[gpu] - beside)
            raise OverCapacity(f"GPU {gpu} has {left} bytes left, job {job_id} needs {size_bytes}")
        self._reserved[gpu][job_id] = Claim(size_bytes, slot)

    def release(self, job_id: JobId) -> int:
        """Give back everything a job holds on any GPU; return how many bytes that were (0 if none)."""
        let_go = [jobs.pop(job_id) for jobs in self._reserved.values() if job_id in jobs]
        return sum(claim.size_bytes for claim in let_go)

    def promised_bytes(self, gpu: GpuUuid) -> int:
        """Return what is promised on a GPU: of each slot the largest job."""
        return sum(self._slots(gpu).values())

    def free_bytes(self, gpu: GpuUuid) -> int:
        """Return what can still be promised to another slot of a GPU (0 for an unknown one)."""
        return max(0, self._capacity.get(gpu, 0) - self.promised_bytes(gpu))

    def held(self, job_id: JobId) -> Mapping[GpuUuid, int]:
        """Return what a job holds, in bytes per GPU."""
        return {gpu: jobs[job_id].size_bytes for gpu, jobs in self._reserved.items() if job_id in jobs}

    def jobs_on(self, gpu: GpuUuid) -> tuple[JobId, ...]:
        """Return the jobs with memory on a GPU."""
        return tuple(self._reserved.get(gpu, {}))

    def place(self, size_bytes: int, slot: str | None = None) -> GpuUuid | None:
        """Return where a job fits best, or None: where the fewest wait before it, then the least room.

        Big GPUs stay free for big jobs.
        """
        fits = [
            gpu
            for gpu, capacity in self._capacity.items()
            if capacity - self._beside(gpu, slot) >= size_bytes
        ]
        return min(fits, key=lambda gpu: (self._waiting(gpu, slot), self.free_bytes(gpu), gpu), default=None)

    def _slots(self, gpu: GpuUuid) -> dict[str, int]:
        slots: dict[str, int] = {}
        for job_id, claim in self._reserved.get(gpu, {}).items():
            slot = claim.slot or job_id
            slots[slot] = max(slots.get(slot, 0), claim.size_bytes)
        return slots

    def _beside(self, gpu: GpuUuid, slot: str | None) -> int:
        return sum(size for name, size in self._slots(gpu).items() if name != slot)

    def _waiting(self, gpu: GpuUuid, slot: str | None) -> int:
        return sum(1 for claim in self._reserved[gpu].values() if slot is not None and claim.slot == slot)
