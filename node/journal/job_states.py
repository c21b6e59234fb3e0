"""How far jobs have come, for whoever decides what may be forgotten about them."""

import json
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol, TypeVar

from node.job.job import Job
from node.journal.chain_position import CHAIN_CURSOR
from node.journal.codec import decode_job
from node.types import JobId

T = TypeVar("T")


class Reads(Protocol):
    """The journal's ``Database`` or ``ReadOnlyDatabase``."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` returns, inside one transaction."""
        ...


@dataclass(frozen=True, slots=True)
class JobState:
    """A job, when it last changed (wall time, seconds), and whether an order for it is still open."""

    job: Job
    updated_at: float
    ordered: bool


@dataclass(frozen=True, slots=True)
class JobStates:
    """The jobs asked for that the journal knows, and the last block it has read (0: none)."""

    jobs: dict[JobId, JobState]
    block_number: int


async def job_states(database: Reads, job_ids: Collection[JobId]) -> JobStates:
    """Return the states of these jobs, all as of one moment."""
    asked = json.dumps(sorted(job_ids))

    def read(connection: sqlite3.Connection) -> JobStates:
        rows = connection.execute(
            "SELECT body, updated_at, job_id IN (SELECT job_id FROM effects WHERE done_at IS NULL) "
            "FROM jobs WHERE job_id IN (SELECT value FROM json_each(?))",
            (asked,),
        ).fetchall()
        cursor = connection.execute(
            "SELECT block_number FROM cursors WHERE name = ?", (CHAIN_CURSOR,)
        ).fetchone()
        states = (JobState(decode_job(body), at, bool(ordered)) for body, at, ordered in rows)
        return JobStates({state.job.job_id: state for state in states}, cursor[0] if cursor else 0)

    return await database.run(read)
