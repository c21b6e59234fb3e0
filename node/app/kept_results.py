"""What the status tells of kept results: exact after each cleaning, and a published result counts at once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from node.errors import NodeError
from node.job.effects import Effect
from node.job.events import JobEvent, Published
from node.job.job import Job
from node.publisher.blockstore import BlockStore, storage_errors
from node.publisher.retention import pinned_bytes
from node.types import JobId

Carrier = Callable[[Job, Effect], Awaitable[JobEvent | None]]
SHOWN = ("kept_jobs", "kept_bytes", "quota_bytes", "damaged")
"""What the status tells of a cleaning."""
MAX_NAMED = 5


class KeptResults:
    """Tells ``update`` what is kept. Until the next cleaning a block that jobs share counts for each."""

    def __init__(self, store: BlockStore, jobs_dir: Path, update: Callable[..., None]) -> None:
        self._store = store
        self._jobs_dir = jobs_dir
        self._update = update
        self._told: dict[str, Any] | None = None
        self._counted: dict[JobId, int] = {}
        self._fresh: dict[JobId, int] = {}
        self._log = structlog.get_logger()

    def look_begins(self) -> None:
        """Say that what is published from now on may be missed by the cleaning that begins."""
        self._fresh.clear()

    def looked(self, told: Mapping[str, Any], sizes: Mapping[JobId, int]) -> None:
        """Take over what a cleaning found: its answer, and the bytes on disk of each job that stays."""
        self._told = {name: told[name] for name in SHOWN}
        self._counted = dict(sizes)
        self._tell()

    def damage(self) -> str | None:
        """Return which results the last cleaning found damaged and could not mend, or None."""
        damaged = self._told["damaged"] if self._told is not None else {}
        if not damaged:
            return None
        first = list(damaged.items())[:MAX_NAMED]
        more = f" and {len(damaged) - len(first)} more" if len(damaged) > len(first) else ""
        named = "; ".join(f"{job_id}: {why}" for job_id, why in first)
        return f"kept results are damaged and their jobs' folders cannot mend them: {named}{more}"

    def counting(self, carry_out: Carrier) -> Carrier:
        """Return the same handler of PUBLISH; what it publishes counts from then on."""

        async def counted(job: Job, effect: Effect) -> JobEvent | None:
            event = await carry_out(job, effect)
            if isinstance(event, Published):
                await self._count(job.job_id)
            return event

        return counted

    async def _count(self, job_id: JobId) -> None:
        try:
            self._fresh[job_id] = await asyncio.to_thread(self._size_bytes, job_id)
        except NodeError as problem:
            # The result is published all the same, and the next cleaning counts it.
            self._log.warning("result_not_counted", job_id=job_id, problem=str(problem))
        else:
            self._tell()

    def _size_bytes(self, job_id: JobId) -> int:
        with storage_errors(self._jobs_dir):
            return pinned_bytes(self._store, job_id) + folder_bytes(self._jobs_dir / job_id)

    def _tell(self) -> None:
        if self._told is None:
            return
        more = {job_id: size for job_id, size in self._fresh.items() if size > self._counted.get(job_id, 0)}
        self._update(
            storage=self._told
            | {
                "kept_jobs": self._told["kept_jobs"] + len(more.keys() - self._counted.keys()),
                "kept_bytes": self._told["kept_bytes"]
                + sum(size - self._counted.get(job_id, 0) for job_id, size in more.items()),
            }
        )


def folder_bytes(folder: Path) -> int:
    """Return what a folder takes of the disk; a file with two names counts once."""
    seen: set[int] = set()
    total = 0
    for path in folder.rglob("*"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if status.st_ino not in seen and not path.is_dir():
            seen.add(status.st_ino)
            total += status.st_size
    return total
