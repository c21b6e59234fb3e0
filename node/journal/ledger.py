"""Reads of the journal for the ledger: payments with their jobs, gas with its jobs, records of accounts.

Changes nothing. The requester of a job is read from the job's own body; an index is kept on it.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from node.job.deal import PaymentDirection, PaymentReason
from node.job.job import Job
from node.job.phase import LET_GO, NEGOTIATING, Phase
from node.journal.chain_position import CHAIN_CURSOR
from node.journal.codec import decode_job
from node.journal.ledger_rows import Extent, GasRow, JobFilter, PaymentRecord, Posting
from node.journal.records import JobRow, LedgerRow
from node.types import Address, BlockNumber, DealId, JobId, TxHash, Wei

T = TypeVar("T")
REQUESTER = "json_extract(body, '$.offer.requester')"
"""Spelled as in the index ``jobs_of_requester``, or SQLite would not use it."""

_PAYMENT = "tx_hash, log_index, block_number, deal_id, payee, amount_wei, reason, direction, at"
# Two questions, each answered from an index alone: spam must not make the second one slow.
_OUTCOMES_OF = f"SELECT {REQUESTER}, phase, count(*), count(deal_id) FROM jobs WHERE {{}} GROUP BY 1, 2"  # noqa: S608
_BAD_DEALS_OF = (
    f"SELECT {REQUESTER.replace('body', 'j.body')}, j.phase, e.kind, count(DISTINCT e.job_id) "  # noqa: S608
    "FROM events e JOIN jobs j ON j.job_id = e.job_id "
    "WHERE e.kind IN ('EscrowDrained', 'NoRemedy') AND {} GROUP BY 1, 2, 3"
)


class Reads(Protocol):
    """A journal that can be asked: the node's own database, or a running node's opened for reading."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` returns, inside one transaction."""
        ...


class LedgerJournal:
    """The money side of the journal."""

    def __init__(self, database: Reads) -> None:
        self._database = database

    async def postings(
        self,
        *,
        payee: Address | None = None,
        job_id: JobId | None = None,
        after: int | None = None,
        until: int | None = None,
    ) -> list[Posting]:
        """Return payments with their jobs, oldest first, of blocks above ``after`` up to ``until``."""
        where, values = _where(
            {
                "p.payee = ?": payee,
                "j.job_id = ?": job_id,
                "p.block_number > ?": after,
                "p.block_number <= ?": until,
            }
        )
        columns = ", ".join(f"p.{name}" for name in _PAYMENT.split(", "))
        query = (
            f"SELECT {columns}, j.job_id, {REQUESTER.replace('body', 'j.body')} "  # noqa: S608
            f"FROM payments p LEFT JOIN jobs j ON j.deal_id = p.deal_id WHERE {where} "
            "ORDER BY p.block_number, p.log_index"
        )

        def read(connection: sqlite3.Connection) -> list[Posting]:
            rows = connection.execute(query, values)
            return [Posting(_payment(row[:9]), _job(row[9]), _address(row[10])) for row in rows]

        return await self._database.run(read)

    async def payments(self, first: int, last: int) -> list[LedgerRow]:
        """Return every payment in a range of blocks, both ends included."""

        def read(connection: sqlite3.Connection) -> list[LedgerRow]:
            rows = connection.execute(
                f"SELECT {_PAYMENT} FROM payments WHERE block_number BETWEEN ? AND ? "  # noqa: S608
                "ORDER BY block_number, log_index",
                (first, last),
            )
            return [_payment(row) for row in rows]

        return await self._database.run(read)

    async def gas(self, *, after: int | None = None, until: int | None = None) -> list[GasRow]:
        """Return what every transaction cost, lowest nonce first, of blocks above ``after`` to ``until``."""
        where, values = _where({"t.block_number > ?": after, "t.block_number <= ?": until})
        return await self._database.run(lambda connection: _gas(connection, where, values))

    async def gas_of(self, jobs: Iterable[JobId]) -> list[GasRow]:
        """Return what the transactions of these jobs cost, job by job."""
        bounds = [(f"{job}:", f"{job};") for job in jobs]

        def read(connection: sqlite3.Connection) -> list[GasRow]:
            # One range of the primary key at a time: many in one condition would be a scan of the table.
            ranges = (_gas(connection, "t.intent_id >= ? AND t.intent_id < ?", bound) for bound in bounds)
            return [row for rows in ranges for row in rows]

        return await self._database.run(read)

    async def jobs(
        self, chosen: JobFilter, limit: int, before: tuple[int, JobId] | None = None
    ) -> list[JobRow]:
        """Return up to ``limit`` jobs, newest first, behind ``before`` (a number and an id) in that order.

        One number at the job manager may stand for two jobs of ours: a proposal and a direct hire.
        """
        where, values = _where(
            {
                "phase = ?": chosen.phase,
                f"{REQUESTER} = ?": chosen.requester,
                "seen_at >= ?": chosen.since,
            }
        )
        if before is not None:
            where, values = f"{where} AND (number, job_id) < (?, ?)", (*values, *before)
        query = (
            f"SELECT body, seen_at, updated_at FROM jobs WHERE {where} "  # noqa: S608
            "ORDER BY number DESC, job_id DESC LIMIT ?"
        )

        def read(connection: sqlite3.Connection) -> list[JobRow]:
            rows = connection.execute(query, (*values, limit))
            return [JobRow(decode_job(body), seen, updated) for body, seen, updated in rows]

        return await self._database.run(read)

    async def extent(self, until: int | None = None) -> Extent:
        """Return how far the ledger reaches and how much is in it, of blocks up to ``until``."""
        ceiling = until if until is not None else 2**63 - 1

        def read(connection: sqlite3.Connection) -> Extent:
            newest, payments = connection.execute(
                "SELECT COALESCE(max(block_number), 0), count(*) FROM payments WHERE block_number <= ?",
                (ceiling,),
            ).fetchone()
            last, transactions = connection.execute(
                "SELECT COALESCE(max(block_number), 0), count(*) FROM transactions "
                "WHERE block_number <= ? AND status IN ('mined', 'reverted')",
                (ceiling,),
            ).fetchone()
            return Extent(max(newest, last), payments, transactions)

        return await self._database.run(read)

    async def open_jobs(self) -> list[Job]:
        """Return the jobs that have not ended."""

        def read(connection: sqlite3.Connection) -> list[Job]:
            rows = connection.execute("SELECT body FROM jobs WHERE terminal = 0 ORDER BY number")
            return [decode_job(body) for (body,) in rows]

        return await self._database.run(read)

    async def deals(self) -> dict[DealId, JobId]:
        """Return every deal of ours with its job."""

        def read(connection: sqlite3.Connection) -> dict[DealId, JobId]:
            rows = connection.execute("SELECT deal_id, job_id FROM jobs WHERE deal_id IS NOT NULL")
            return {DealId(deal): JobId(job) for deal, job in rows}

        return await self._database.run(read)

    async def read_blocks(self) -> tuple[int, int] | None:
        """Return the first block that can hold money of ours and the last one read, None before any offer."""

        def read(connection: sqlite3.Connection) -> tuple[int, int] | None:
            (first,) = connection.execute(
                "SELECT min(json_extract(body, '$.offer.block_number')) FROM jobs WHERE deal_id IS NOT NULL"
            ).fetchone()
            cursor = connection.execute(
                "SELECT block_number FROM cursors WHERE name = ?", (CHAIN_CURSOR,)
            ).fetchone()
            return None if first is None or cursor is None else (first, cursor[0])

        return await self._database.run(read)

    async def record_of(self, requester: Address) -> PaymentRecord:
        """Return how this account has dealt with us."""
        found = await self._records(requester)
        return found.get(requester, PaymentRecord())

    async def records(self) -> dict[Address, PaymentRecord]:
        """Return how every account we met has dealt with us."""
        return await self._records(None)

    async def _records(self, requester: Address | None) -> dict[Address, PaymentRecord]:
        where, values = _where({f"{REQUESTER} = ?": requester})

        def read(connection: sqlite3.Connection) -> dict[Address, PaymentRecord]:
            counts: dict[Address, Counter[str]] = {}
            for account, phase, jobs, deals in connection.execute(_OUTCOMES_OF.format(where), values):
                count = counts.setdefault(Address(account), Counter())
                count["deals"] += 0 if phase in LET_GO | NEGOTIATING else deals
                count[_outcome(Phase(phase))] += jobs
            bad = connection.execute(_BAD_DEALS_OF.format(where.replace("body", "j.body")), values)
            for account, phase, kind, jobs in bad:
                count = counts[Address(account)]
                if kind == "EscrowDrained":
                    count["drained"] += jobs
                    count[_outcome(Phase(phase))] -= jobs
                elif phase == Phase.SUBMITTED:
                    count["unanswered"] += jobs
                    count["open"] -= jobs
            return {
                account: PaymentRecord(**{name: number for name, number in count.items() if name})
                for account, count in counts.items()
            }

        return await self._database.run(read)


def _gas(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> list[GasRow]:
    query = (
        f"SELECT t.intent_id, t.what, j.job_id, {REQUESTER.replace('body', 'j.body')}, "  # noqa: S608
        "t.tx_hash, t.block_number, t.status, t.gas_used, t.fee_wei, "
        "COALESCE((SELECT min(p.at) FROM payments p WHERE p.tx_hash = t.tx_hash), t.settled_at, 0) "
        "FROM transactions t LEFT JOIN jobs j "
        "ON j.job_id = substr(t.intent_id, 1, instr(t.intent_id, ':') - 1) "
        f"WHERE t.status IN ('mined', 'reverted') AND {where} ORDER BY t.nonce"
    )
    return [
        GasRow(
            intent_id=row[0],
            what=row[1],
            job_id=_job(row[2]),
            counterparty=_address(row[3]),
            tx_hash=TxHash(row[4]),
            block_number=row[5],
            reverted=row[6] == "reverted",
            gas_used=row[7],
            fee_wei=Wei(int(row[8])),
            at=row[9],
        )
        for row in connection.execute(query, values)
    ]


def _outcome(phase: Phase) -> str:
    """Return the number that a job in this phase counts in, empty for none."""
    return _OUTCOMES.get(phase, "" if phase.terminal or phase is Phase.SEEN else "open")


_OUTCOMES = {
    Phase.PAID: "paid",
    Phase.UNPAID: "unpaid",
    Phase.REJECTED: "rejected",
    Phase.FAILED: "failed",
    Phase.LAPSED: "lapsed",
}


def _where(conditions: Mapping[str, object]) -> tuple[str, tuple[object, ...]]:
    used = {condition: value for condition, value in conditions.items() if value is not None}
    return " AND ".join(used) or "1", tuple(used.values())


def _payment(row: tuple[object, ...]) -> LedgerRow:
    tx_hash, log_index, block_number, deal_id, payee, amount, reason, direction, at = row
    return LedgerRow(
        tx_hash=TxHash(str(tx_hash)),
        log_index=int(str(log_index)),
        block_number=BlockNumber(int(str(block_number))),
        deal_id=DealId(str(deal_id)),
        payee=Address(str(payee)),
        amount_wei=Wei(int(str(amount))),
        reason=PaymentReason(int(str(reason))),
        direction=PaymentDirection(int(str(direction))),
        at=int(str(at)),
    )


def _job(value: object) -> JobId | None:
    return None if value is None else JobId(str(value))


def _address(value: object) -> Address | None:
    return None if value is None else Address(str(value))
