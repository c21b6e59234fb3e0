"""What a forked node does to its own disk, exactly at one durable boundary of a job."""

import errno
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.harness.hooks import around_boundaries

BALLAST = "ballast"
SLOW_S = 1.0
_CHUNK = bytes(1 << 16)
_REMOUNT_WAIT_S = 1.0


def disk_fails_at(job_id: str, boundary: str, trouble: str, folders: list[str], told: str, over: str) -> None:
    """Have the disks that are mounted at ``folders`` fail from a boundary on, once.

    ``trouble``: ``bytes`` or ``files`` (no more of them), ``read-only``, or ``slow`` (a second for each fsync
    and each commit, until the file ``over`` is there). The file ``told`` appears when it is so.
    """
    failing = {"bytes": fill_bytes, "files": fill_files, "read-only": remount_read_only}

    def act(moment: str, name: str) -> None:
        if f"{moment}:{name}" != boundary or Path(told).exists():
            return
        if trouble == "slow":
            be_slow(lambda: not Path(over).exists())
        else:
            for folder in folders:
                failing[trouble](Path(folder))
        Path(told).touch()

    around_boundaries(job_id, act)


def fill_bytes(folder: Path) -> None:
    """Take every byte that is left."""
    handle = os.open(folder / BALLAST, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for chunk in (_CHUNK, _CHUNK[:4096], _CHUNK[:1]):
            _until_full(lambda chunk=chunk: os.write(handle, chunk))
    finally:
        os.close(handle)


def fill_files(folder: Path) -> None:
    """Take every inode that is left."""
    names = itertools.count()

    def take() -> None:
        (folder / f"{BALLAST}-{next(names)}").touch()

    _until_full(take)


def remount_read_only(folder: Path) -> None:
    """The kernel refuses it while a file is open for writing: then soon after the boundary."""
    give_up = time.monotonic() + _REMOUNT_WAIT_S
    command = ["mount", "-o", "remount,ro", str(folder)]
    while subprocess.run(command, capture_output=True, check=False).returncode:
        if time.monotonic() > give_up:
            waiting = f"until {' '.join(command)} 2>/dev/null; do sleep 0.01; done"
            subprocess.Popen(["timeout", "20", "sh", "-c", waiting])
            return
        time.sleep(0.005)


def be_slow(while_: Callable[[], bool]) -> None:
    """Have each fsync and each commit of this process take a second longer."""
    from node.journal.database import Database

    fsync, transact = os.fsync, Database._transact

    def slow_fsync(handle: int) -> None:
        if while_():
            time.sleep(SLOW_S)
        fsync(handle)

    def slow_transact(self: Database, work: Callable[..., object]) -> object:
        if while_():
            time.sleep(SLOW_S)
        return transact(self, work)

    os.fsync = slow_fsync
    Database._transact = slow_transact  # type: ignore[method-assign, assignment]


def _until_full(take: Callable[[], object]) -> None:
    while True:
        try:
            take()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                sys.stderr.write(f"the disk was not filled: {error}\n")
            return
