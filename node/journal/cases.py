"""The mediator's cases and how far their logs were read: a case is known before anything is done about it."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from node.clock import Clock
from node.job.case import OPEN_PHASES, Case, CasePhase, Decision
from node.journal.database import Database
from node.types import BlockHash, BlockNumber, DealId

_CURSOR = "mediation"
_COLUMNS = "deal_id, drawn_in, phase, decision, reason, missed, missed_since"
_OPEN = ", ".join(f"'{phase.value}'" for phase in sorted(OPEN_PHASES))


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A case with when it was seen and last changed, in seconds since the epoch."""

    case: Case
    seen_at: float
    updated_at: float


class CaseLog:
    """The table of cases; every write is on disk when it returns."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def cursor(self) -> tuple[BlockNumber, BlockHash] | None:
        """Return the last block whose draws are written down, None before the first."""

        def read(connection: sqlite3.Connection) -> tuple[BlockNumber, BlockHash] | None:
            row = connection.execute(
                "SELECT block_number, block_hash FROM cursors WHERE name = ?", (_CURSOR,)
            ).fetchone()
            return None if row is None else (BlockNumber(row[0]), BlockHash(row[1]))

        return await self._database.run(read)

    async def drawn(
        self, draws: Iterable[tuple[DealId, BlockNumber]], block_number: BlockNumber, block_hash: BlockHash
    ) -> None:
        """Write down who was drawn up to a block, together with the block."""
        found, now = list(draws), self._clock.now()

        def write(connection: sqlite3.Connection) -> None:
            for deal_id, drawn_in in found:
                row = connection.execute(
                    f"SELECT {_COLUMNS} FROM cases WHERE deal_id = ?",  # noqa: S608, names of columns
                    (deal_id,),
                ).fetchone()
                case = Case(deal_id, drawn_in) if row is None else _case(row).drawn_again(drawn_in)
                _put(connection, case, now)
            connection.execute(
                "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", (_CURSOR, block_number, block_hash)
            )

        await self._database.run(write)

    async def save(self, case: Case) -> None:
        """Write a case down as it stands."""
        now = self._clock.now()
        await self._database.run(lambda connection: _put(connection, case, now))

    async def open_cases(self) -> list[CaseRow]:
        """Return the cases with something left to do, the oldest first."""
        return await self._select(f"WHERE phase IN ({_OPEN}) ORDER BY seen_at, deal_id", ())

    async def recent(self, most: int) -> list[CaseRow]:
        """Return the newest cases."""
        return await self._select("ORDER BY seen_at DESC, deal_id LIMIT ?", (most,))

    async def settled_before(self, moment: float) -> list[CaseRow]:
        """Return the cases that were over at a moment."""
        return await self._select(f"WHERE phase NOT IN ({_OPEN}) AND updated_at < ?", (moment,))

    async def _select(self, clause: str, values: tuple[object, ...]) -> list[CaseRow]:
        def read(connection: sqlite3.Connection) -> list[CaseRow]:
            rows = connection.execute(
                f"SELECT {_COLUMNS}, seen_at, updated_at FROM cases {clause}",  # noqa: S608, clauses of ours
                values,
            )
            return [CaseRow(_case(row), row[7], row[8]) for row in rows]

        return await self._database.run(read)


def _put(connection: sqlite3.Connection, case: Case, now: float) -> None:
    connection.execute(
        "INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (deal_id) DO UPDATE SET "
        "drawn_in = excluded.drawn_in, phase = excluded.phase, decision = excluded.decision, "
        "reason = excluded.reason, missed = excluded.missed, missed_since = excluded.missed_since, "
        "updated_at = excluded.updated_at",
        (
            *(case.deal_id, case.drawn_in, case.phase, case.decision, case.reason),
            *(case.missed, case.missed_since, now, now),
        ),
    )


def _case(row: tuple[object, ...]) -> Case:
    deal_id, drawn_in, phase, decision, reason, missed, missed_since = row[:7]
    return Case(
        DealId(str(deal_id)),
        BlockNumber(int(str(drawn_in))),
        CasePhase(str(phase)),
        None if decision is None else Decision(str(decision)),
        str(reason),
        int(str(missed)),
        int(str(missed_since)),
    )
