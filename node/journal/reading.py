"""A running node's journal, opened beside it for reading: no lock is taken and nothing can be written."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from node.errors import Fatal
from node.journal.schema import VERSION

T = TypeVar("T")


class ReadOnlyDatabase:
    """Meets what the journal's readers ask of ``Database``. Every read sees the node's last commit.

    Raises Fatal if the file cannot be opened, or was made by another version than this one.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "journal.sqlite"
        self._one_at_a_time = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(str(self.path))}?mode=ro",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
            (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError as problem:
            raise Fatal(
                f"{self.path} cannot be read ({problem}): run this as the node's own user"
            ) from problem
        if found != VERSION:
            raise Fatal(
                f"{self.path} has format {found} and this sdv-node reads {VERSION}: "
                "use the version that the running node has"
            )

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` returns, run on another thread inside one reading transaction."""
        return await asyncio.to_thread(self._read, work)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._one_at_a_time:
            self._connection.execute("BEGIN")
            try:
                return work(self._connection)
            finally:
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
