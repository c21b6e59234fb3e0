"""One connection on one thread, and the lock that keeps a data directory to one process."""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

from node.errors import Fatal
from node.journal.schema import prepare

T = TypeVar("T")


class Database:
    """A SQLite file in WAL mode with ``synchronous = FULL``.

    Raises Fatal if another process uses the directory, or if the file is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._lock: IO[str] = take_lock(directory)
        self.path = directory / "journal.sqlite"
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        try:
            self._connection = self._thread.submit(self._open).result()
        except BaseException:
            self._thread.shutdown()
            self._lock.close()
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self.path, isolation_level=None)
            prepare(connection)
            (verdict,) = connection.execute("PRAGMA quick_check").fetchone()
        except sqlite3.DatabaseError as problem:
            raise Fatal(f"{self.path} cannot be opened ({problem}): restore it from a backup") from problem
        if verdict != "ok":
            raise Fatal(f"{self.path} is damaged ({verdict}): restore it from a backup")
        return connection

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` returns, run on the journal's thread inside one transaction.

        Raises Fatal if the disk refuses the write: nothing may be done that is not written down.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._connection)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as problem:
            raise Fatal(
                f"{self.path} cannot be written ({problem}): free disk space or mend its permissions, "
                "then start the node again"
            ) from problem
        return result

    def close(self) -> None:
        """Close the file and give the directory free."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()
        self._lock.close()


class InUse(Fatal):
    """Another process works in this directory."""


def take_lock(directory: Path) -> IO[str]:
    """Return the open lock of a directory; closing it gives the directory free. Raises InUse."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (directory / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise InUse(
            f"another sdv-node (process {holder}) uses {directory}: stop it, or give this one its own "
            "directory with --data-dir"
        ) from problem
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
