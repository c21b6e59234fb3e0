"""Room on the disk: what is left of it, what a job takes of it, and why that is too little for another one.

A job is taken on only while at least ``SIZES_FREE`` jobs of its size would still fit beside those that are
agreed: one begun on a disk that fills up is a deal lost.
"""

import os
from dataclasses import dataclass
from pathlib import Path

SIZES_FREE = 2
FILES_AT_LEAST, BYTES_PER_FILE = 64, 64 * 1024
"""A job has at most so many files (inodes), and one more for each of so many bytes."""


@dataclass(frozen=True, slots=True)
class DiskRoom:
    """What is left for a process without privileges. ``free_files`` None: this file system sets no bound."""

    free_bytes: int
    free_files: int | None = None
    read_only: Path | None = None
    """A folder in which nothing can be written, if there is one."""


def disk_room(*paths: Path) -> DiskRoom:
    """Return the least room on the file systems of these paths; one must exist. Raises OSError."""
    found = [(path, os.statvfs(path)) for path in paths if path.exists()]
    return DiskRoom(
        min(at.f_bavail * at.f_frsize for _, at in found),
        min((at.f_favail for _, at in found if at.f_files), default=None),
        next((path for path, at in found if at.f_flag & os.ST_RDONLY), None),
    )


def data_room(directory: Path) -> DiskRoom:
    """Return the room in a data directory that need not exist yet; parts of it may be disks of their own."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    return disk_room(existing, directory / "ipfs", directory / "jobs")


def shortage(room: DiskRoom, *, floor_bytes: int, job_bytes: int, jobs_ahead: int = 0) -> str | None:
    """Return why a job of ``job_bytes`` is not taken on with this much room, or None.

    ``jobs_ahead`` are agreed already and may still need as much each; ``floor_bytes`` are asked for
    whatever a job takes.
    """
    jobs = SIZES_FREE + jobs_ahead
    needed_bytes = max(floor_bytes, jobs * job_bytes)
    way_out = "free some, set ipfs.quota_gb lower, or move node.data_dir"
    if room.read_only is not None:
        return f"{room.read_only} is on a read-only disk: see the kernel's log, mount it for writing"
    if room.free_bytes < needed_bytes:
        return f"the disk has {_gb(room.free_bytes)} GB free and {_gb(needed_bytes)} are needed: {way_out}"
    needed_files = jobs * (FILES_AT_LEAST + job_bytes // BYTES_PER_FILE)
    if room.free_files is not None and room.free_files < needed_files:
        return (
            f"the disk has room for {room.free_files} more files (inodes) and {needed_files} are needed: "
            f"{way_out}"
        )
    return None


class JobSizes:
    """What jobs take of the disk here: per still with its clip, the most that was measured."""

    def __init__(self, initial_bytes: int) -> None:
        self._initial_bytes = initial_bytes
        self._largest_bytes = 0

    def measured(self, published_bytes: int, stills: int) -> None:
        """Count a published job: its blocks, and the files they were made from."""
        self._largest_bytes = max(self._largest_bytes, 2 * published_bytes // stills)

    def of(self, stills: int = 1) -> int:
        """Return the bytes that a job with so many stills may take while it is worked on."""
        return (self._largest_bytes or self._initial_bytes) * stills


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 10**9:.3g}"
