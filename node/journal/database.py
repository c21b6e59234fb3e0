"""One connection on one thread, and the lock that keeps a data directory to one process.

A disk without room is waited for: what cannot be written down is not done, and goes on when there is room.
"""

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar

import structlog

from node.disk_errors import disk_remedy
from node.errors import Fatal, Retryable
from node.journal.schema import prepare

T = TypeVar("T")
NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
"""Results of SQLite for a write that the disk did not take: nothing of the transaction is in the file."""
LOOK_AGAIN_S = 1.0


class NoRoom(Retryable):
    """The disk takes no more of the journal."""


class Database:
    """A SQLite file in WAL mode with ``synchronous = FULL``.

    Raises Fatal if another process uses the directory or if the file is damaged, NoRoom if the disk is full.
    """

    def __init__(self, directory: Path) -> None:
        self._lock: IO[str] = take_lock(directory)
        self.path = directory / "journal.sqlite"
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._waiting = 0
        self._log = structlog.get_logger()
        self._on_waiting: Callable[[str | None], None] = lambda _: None
        self._on_transaction: Callable[[float], None] = lambda _: None
        try:
            self._connection = self._thread.submit(self._open).result()
        except BaseException:
            self._thread.shutdown()
            self._lock.close()
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            # Readable by its owner alone, whatever the directory allows: SQLite's other files take its mode.
            self.path.touch(mode=0o600)
            connection = sqlite3.connect(self.path, isolation_level=None)
            prepare(connection)
            (verdict,) = connection.execute("PRAGMA quick_check").fetchone()
        except sqlite3.DatabaseError as problem:
            if isinstance(problem, sqlite3.OperationalError) and problem.sqlite_errorcode in NO_ROOM:
                raise NoRoom(f"{self.path} cannot be opened ({problem}): free disk space") from problem
            raise Fatal(f"{self.path} cannot be opened ({problem}): restore it from a backup") from problem
        if verdict != "ok":
            raise Fatal(f"{self.path} is damaged ({verdict}): restore it from a backup")
        return connection

    def listen(
        self,
        on_waiting: Callable[[str | None], None],
        on_transaction: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Have it told why writes wait, and None when they go on; and how many seconds each transaction took.

        The latter is told on the journal's thread.
        """
        self._on_waiting, self._on_transaction = on_waiting, on_transaction

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` returns, run on the journal's thread inside one transaction.

        While the disk has no room it is tried again, ``work`` included: nothing may be done that is not
        written down. Raises Fatal if the disk refuses the write for another reason.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._transact, work)
        except NoRoom as problem:
            self._wait_begins(str(problem))
        try:
            while True:
                await asyncio.sleep(LOOK_AGAIN_S)
                try:
                    return await loop.run_in_executor(self._thread, self._transact, work)
                except NoRoom:
                    continue
        finally:
            self._wait_ends()

    def _wait_begins(self, problem: str) -> None:
        self._waiting += 1
        if self._waiting == 1:
            self._log.error("journal_waits_for_room", problem=problem)
            self._on_waiting(problem)

    def _wait_ends(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._log.info("journal_goes_on")
            self._on_waiting(None)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        began = time.monotonic()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk can have ended the transaction by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode in NO_ROOM:
                raise NoRoom(
                    f"{self.path} cannot be written ({problem}): free space and it goes on by itself"
                ) from problem
            raise Fatal(
                f"{self.path} cannot be written ({problem}): free disk space or mend its permissions, "
                "then start the node again"
            ) from problem
        self._on_transaction(time.monotonic() - began)
        return result

    def close(self) -> None:
        """Close the file and give the directory free."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()
        self._lock.close()


class InUse(Fatal):
    """Another process works in this directory."""


class NotWritable(Fatal):
    """The data directory cannot be made or written."""


def take_lock(directory: Path) -> IO[str]:
    """Return the open lock of a directory; closing it gives the directory free.

    Raises InUse, and NotWritable for a directory in which nothing can be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (directory / "lock").open("a+")
    except OSError as problem:
        raise NotWritable(
            f"the data directory {directory} cannot be written ({problem.strerror}): "
            f"{disk_remedy(problem)}, or name another with --data-dir"
        ) from problem
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
    _sign(lock)
    return lock


def _sign(lock: IO[str]) -> None:
    """Leave our process id for whoever finds the lock taken; a full disk may refuse it."""
    os.truncate(lock.fileno(), 0)
    with suppress(OSError):
        os.write(lock.fileno(), str(os.getpid()).encode())
