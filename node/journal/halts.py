"""Why the node stopped itself, written down so that a restart does not go on by itself."""

import sqlite3

from node.clock import Clock
from node.journal.database import Database


class Halts:
    """The halts of one journal; at most one stands at a time that matters: the first that was not cleared."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def write(self, reason: str) -> None:
        """Write a halt down; call it before anything is stopped."""
        now = self._clock.now()
        await self._database.run(
            lambda connection: connection.execute(
                "INSERT INTO halts (at, reason) VALUES (?, ?)", (now, reason)
            )
        )

    async def standing(self) -> str | None:
        """Return the reason of the oldest halt that nobody cleared, or None."""

        def read(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(
                "SELECT reason FROM halts WHERE cleared_at IS NULL ORDER BY seq LIMIT 1"
            ).fetchone()
            return None if row is None else str(row[0])

        return await self._database.run(read)

    async def clear(self) -> int:
        """Clear every halt and return how many there were.

        Blocks that were final before the halt no longer bind, and uses of our key until now are history: a
        person has accepted the chain as it is.
        """
        now = self._clock.now()

        def write(connection: sqlite3.Connection) -> int:
            connection.execute("UPDATE checkpoints SET head_number = block_number")
            connection.execute("DELETE FROM key_uses")
            cleared = connection.execute("UPDATE halts SET cleared_at = ? WHERE cleared_at IS NULL", (now,))
            return cleared.rowcount

        return await self._database.run(write)
