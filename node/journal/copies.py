"""Where each result is kept and was read back from: one row for each job and place.

A row is written before anything is sent there, so that what a killed process began is found and gone on with.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from node.clock import Clock
from node.job.copies import Copy
from node.journal.database import Database
from node.types import Cid, JobId

RESUMED = 500
"""How many unfinished copies are gone on with after a start, the newest ones."""


@dataclass(frozen=True, slots=True)
class CopyRow:
    """One result at one place."""

    job_id: JobId
    cid: Cid
    copy: Copy


class CopyLog:
    """The table of copies; every write is on disk when it returns."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def want(self, job_id: JobId, cid: Cid, places: Sequence[str]) -> tuple[Copy, ...]:
        """Note that a job's result is to be at these places; return what is known of each, in their order.

        What was known of another result of the job is forgotten.
        """
        now = self._clock.now()

        def write(connection: sqlite3.Connection) -> tuple[Copy, ...]:
            connection.execute("DELETE FROM copies WHERE job_id = ? AND cid <> ?", (job_id, cid))
            connection.executemany(
                "INSERT OR IGNORE INTO copies (job_id, place, cid, wanted_at) VALUES (?, ?, ?, ?)",
                [(job_id, place, cid, now) for place in places],
            )
            known = {copy.place: copy for copy in _copies(connection, job_id)}
            return tuple(known[place] for place in places)

        return await self._database.run(write)

    async def put(self, job_id: JobId, cid: Cid, copy: Copy) -> None:
        """Keep what is known of one place, unless the job has another result by now."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE copies SET stored_at = ?, read_at = ?, problem = ? "
                "WHERE job_id = ? AND place = ? AND cid = ?",
                (copy.stored_at, copy.read_at, copy.problem, job_id, copy.place, cid),
            )

        await self._database.run(write)

    async def forget(self, job_id: JobId, cid: Cid) -> None:
        """Drop what is not done yet of a result that this node does not keep any more."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM copies WHERE job_id = ? AND cid = ? AND (stored_at IS NULL OR read_at IS NULL)",
                (job_id, cid),
            )

        await self._database.run(write)

    async def of_job(self, job_id: JobId) -> tuple[Copy, ...]:
        """Return where a job's result is, by place."""
        return await self._database.run(lambda connection: tuple(_copies(connection, job_id)))

    async def unfinished(self, storing: Sequence[str], reading: Sequence[str]) -> list[CopyRow]:
        """Return what is not stored yet at the first places or not read yet at the second, newest first."""

        def read(connection: sqlite3.Connection) -> list[CopyRow]:
            rows = connection.execute(
                "SELECT job_id, cid, place, stored_at, read_at, problem FROM copies WHERE "
                "(stored_at IS NULL AND place IN (SELECT value FROM json_each(?))) OR "
                "(read_at IS NULL AND place IN (SELECT value FROM json_each(?))) "
                "ORDER BY wanted_at DESC, job_id, place LIMIT ?",
                (json.dumps([*storing]), json.dumps([*reading]), RESUMED),
            )
            return [CopyRow(JobId(job), Cid(cid), Copy(*copy)) for job, cid, *copy in rows]

        return await self._database.run(read)


def _copies(connection: sqlite3.Connection, job_id: JobId) -> list[Copy]:
    rows = connection.execute(
        "SELECT place, stored_at, read_at, problem FROM copies "
        "WHERE job_id = ? ORDER BY stored_at IS NULL, stored_at, place",
        (job_id,),
    )
    return [Copy(*row) for row in rows]
