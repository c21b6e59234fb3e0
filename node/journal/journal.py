"""The journal of jobs: append what happened with what follows from it, and read it back.

One commit holds events, the folded jobs, new effects, effects done, ledger rows and the log cursor, so a
crash leaves either all of it or nothing.
"""

import heapq
import sqlite3

from node.clock import Clock
from node.job.effects import Effect, EffectKind
from node.job.events import HireSeen, OfferSeen
from node.job.job import Job
from node.job.transition import open_job, transition
from node.journal.chain_position import CHAIN_CURSOR, keep_checkpoints, move_cursor, rewind_to
from node.journal.codec import decode_event, decode_job, encode_event, encode_job
from node.journal.database import Database
from node.journal.records import (
    Commit,
    CursorRow,
    JobRow,
    LedgerRow,
    Recovered,
    SkippedLog,
    TimelineRow,
)
from node.types import BlockHash, BlockNumber, DealId, JobId

GENESIS = "genesis"
SKIPPED_KEPT = 1_000
"""Logs not worth a job that are kept, the newest ones: anybody can make any number of them."""


class Journal:
    """The engine's memory."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def commit(self, commit: Commit) -> None:
        """Make everything in the commit durable together."""
        now = self._clock.now()
        events = []
        jobs: dict[JobId, Job] = {}
        effects = []
        for entry in commit.entries:
            job = entry.job
            kind, body = encode_event(entry.event)
            events.append((job.job_id, now, kind, body, job.phase))
            jobs[job.job_id] = job
            effects += [(e.effect_id, e.job_id, e.kind, e.attempt, now) for e in entry.effects]
        rows = [
            (
                job.job_id,
                job.offer.number,
                job.phase,
                job.phase.terminal,
                job.deal.deal_id if job.deal else None,
                now,
                now,
                encode_job(job),
            )
            for job in jobs.values()
        ]

        newest = heapq.nlargest(SKIPPED_KEPT, commit.skipped, key=lambda s: (s.block_number, s.log_index))

        def write(connection: sqlite3.Connection) -> None:
            if commit.rewind:
                rewind_to(connection, commit.rewind)
            connection.executemany(
                "INSERT INTO events (job_id, at, kind, body, phase) VALUES (?, ?, ?, ?, ?)", events
            )
            connection.executemany(
                "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job_id) DO UPDATE SET "
                "phase = excluded.phase, terminal = excluded.terminal, deal_id = excluded.deal_id, "
                "updated_at = excluded.updated_at, body = excluded.body",
                rows,
            )
            connection.executemany(
                # An order comes again under its old id only after a reorganisation undid it.
                "INSERT INTO effects (effect_id, job_id, kind, attempt, ordered_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (effect_id) DO UPDATE SET done_at = NULL",
                effects,
            )
            connection.executemany(
                "UPDATE effects SET done_at = ? WHERE effect_id = ?", [(now, e) for e in commit.done]
            )
            connection.executemany(
                "INSERT OR IGNORE INTO payments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_payment_values(row) for row in commit.payments],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO skipped VALUES (?, ?, ?, ?, ?, ?)",
                [(s.block_number, s.tx_hash, s.log_index, s.job_number, s.reason, now) for s in newest],
            )
            if newest:
                connection.execute(
                    "DELETE FROM skipped WHERE (block_number, log_index) < "
                    "(SELECT block_number, log_index FROM skipped "
                    "ORDER BY block_number DESC, log_index DESC LIMIT 1 OFFSET ?)",
                    (SKIPPED_KEPT - 1,),
                )
            keep_checkpoints(connection, commit.rests_on)
            if commit.cursor:
                move_cursor(connection, commit.cursor)

        await self._database.run(write)

    async def recover(self) -> Recovered:
        """Return where the node stood when it stopped."""

        def read(connection: sqlite3.Connection) -> Recovered:
            jobs = connection.execute(
                "SELECT body, seen_at, updated_at FROM jobs WHERE terminal = 0 ORDER BY number"
            ).fetchall()
            deals = connection.execute(
                # Of two jobs with one deal, the later row counts: never the one that was refused.
                "SELECT deal_id, job_id FROM jobs WHERE deal_id IS NOT NULL ORDER BY phase <> 'REFUSED'"
            )
            effects = connection.execute(
                "SELECT job_id, kind, attempt FROM effects WHERE done_at IS NULL "
                "ORDER BY ordered_at, effect_id"
            )
            cursor = connection.execute(
                "SELECT block_number, block_hash FROM cursors WHERE name = ?", (CHAIN_CURSOR,)
            ).fetchone()
            return Recovered(
                jobs=tuple(JobRow(decode_job(body), seen, updated) for body, seen, updated in jobs),
                deals={DealId(deal): JobId(job) for deal, job in deals},
                effects=tuple(
                    Effect(JobId(job), EffectKind(kind), attempt) for job, kind, attempt in effects
                ),
                cursor=CursorRow(BlockNumber(cursor[0]), BlockHash(cursor[1])) if cursor else None,
            )

        return await self._database.run(read)

    async def bind(self, genesis: CursorRow) -> CursorRow:
        """Return the genesis block of the chain this journal belongs to: the given one for a new journal."""

        def write(connection: sqlite3.Connection) -> CursorRow:
            connection.execute(
                "INSERT OR IGNORE INTO cursors VALUES (?, ?, ?)",
                (GENESIS, genesis.block_number, genesis.block_hash),
            )
            number, block_hash = connection.execute(
                "SELECT block_number, block_hash FROM cursors WHERE name = ?", (GENESIS,)
            ).fetchone()
            return CursorRow(BlockNumber(number), BlockHash(block_hash))

        return await self._database.run(write)

    async def jobs(self, limit: int, before: int | None = None) -> list[JobRow]:
        """Return up to ``limit`` jobs with numbers below ``before``, newest first."""

        def read(connection: sqlite3.Connection) -> list[JobRow]:
            ceiling = before if before is not None else 2**63 - 1
            rows = connection.execute(
                "SELECT body, seen_at, updated_at FROM jobs WHERE number < ? ORDER BY number DESC LIMIT ?",
                (ceiling, limit),
            )
            return [JobRow(decode_job(body), seen, updated) for body, seen, updated in rows]

        return await self._database.run(read)

    async def job(self, job_id: JobId) -> JobRow | None:
        """Return one job, open or ended."""

        def read(connection: sqlite3.Connection) -> JobRow | None:
            row = connection.execute(
                "SELECT body, seen_at, updated_at FROM jobs WHERE job_id = ?", (job_id,)
            ).fetchone()
            return JobRow(decode_job(row[0]), row[1], row[2]) if row else None

        return await self._database.run(read)

    async def timeline(self, job_id: JobId) -> list[TimelineRow]:
        """Return a job's events, oldest first."""

        def read(connection: sqlite3.Connection) -> list[TimelineRow]:
            rows = connection.execute(
                "SELECT at, kind, phase, body FROM events WHERE job_id = ? ORDER BY seq", (job_id,)
            )
            return [TimelineRow(*row) for row in rows]

        return await self._database.run(read)

    async def replayed(self, job_id: JobId) -> Job | None:
        """Return the job as the fold of its events alone: equal to the stored one, or the journal lies."""
        job: Job | None = None
        for row in await self.timeline(job_id):
            event = decode_event(row.event, row.body)
            if job is None:
                if not isinstance(event, (OfferSeen, HireSeen)):
                    raise ValueError(f"{job_id} begins with {row.event}")
                job, _ = open_job(event)
            else:
                job, _ = transition(job, event)
        return job

    async def counts(self) -> dict[str, int]:
        """Return how many jobs are in each phase."""

        def read(connection: sqlite3.Connection) -> dict[str, int]:
            return dict(connection.execute("SELECT phase, count(*) FROM jobs GROUP BY phase").fetchall())

        return await self._database.run(read)

    async def skipped(self, limit: int) -> list[SkippedLog]:
        """Return the last logs that were not worth a job."""

        def read(connection: sqlite3.Connection) -> list[SkippedLog]:
            rows = connection.execute(
                "SELECT block_number, tx_hash, log_index, job_number, reason FROM skipped "
                "ORDER BY block_number DESC, log_index DESC LIMIT ?",
                (limit,),
            )
            return [SkippedLog(*row) for row in rows]

        return await self._database.run(read)

    async def checkpoints(self) -> list[CursorRow]:
        """Return the blocks the cursor has rested on, newest first."""

        def read(connection: sqlite3.Connection) -> list[CursorRow]:
            rows = connection.execute(
                "SELECT block_number, block_hash, head_number FROM checkpoints ORDER BY block_number DESC"
            )
            return [CursorRow(BlockNumber(n), BlockHash(h), head) for n, h, head in rows]

        return await self._database.run(read)

    async def jobs_resting_above(self, block_number: int) -> list[JobRow]:
        """Return the jobs, open or ended, that rest on facts of later blocks than this one."""

        def read(connection: sqlite3.Connection) -> list[JobRow]:
            rows = connection.execute(
                "SELECT body, seen_at, updated_at FROM jobs "
                "WHERE json_extract(body, '$.chain_block') > ? ORDER BY number",
                (block_number,),
            )
            return [JobRow(decode_job(body), seen, updated) for body, seen, updated in rows]

        return await self._database.run(read)

    async def skipped_job(self, number: int) -> SkippedLog | None:
        """Return the log of a posted job that was passed over, None if it is not kept."""

        def read(connection: sqlite3.Connection) -> SkippedLog | None:
            row = connection.execute(
                "SELECT block_number, tx_hash, log_index, job_number, reason FROM skipped "
                "WHERE job_number = ? ORDER BY block_number DESC LIMIT 1",
                (number,),
            ).fetchone()
            return SkippedLog(*row) if row else None

        return await self._database.run(read)


def _payment_values(row: LedgerRow) -> tuple[object, ...]:
    return (
        row.tx_hash,
        row.log_index,
        row.block_number,
        row.deal_id,
        row.payee,
        str(row.amount_wei),
        int(row.reason),
        int(row.direction),
        row.at,
    )
