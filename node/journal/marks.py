"""What the operator told the node to remember across restarts: small values by name."""

import sqlite3

from node.clock import Clock
from node.journal.database import Database

OFFER_WITHDRAWN = "offer_withdrawn"
"""Why no offer is published until the operator says so again."""
DRAINING = "draining"
"""Set while no new job is to be taken."""


class Marks:
    """The table of marks; every write is on disk when it returns."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, name: str) -> str | None:
        """Return a mark's value, None if it is not set."""

        def read(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
            return row[0] if row else None

        return await self._database.run(read)

    async def put(self, name: str, value: str) -> None:
        """Set a mark, in place of what it was."""
        now = self._clock.now()

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?)", (name, value, now))

        await self._database.run(write)

    async def clear(self, name: str) -> None:
        """Remove a mark, if it is set."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM marks WHERE name = ?", (name,))

        await self._database.run(write)
