"""Transactions and nonces: reserved, then signed and written here, and only then broadcast."""

import sqlite3

from node.job.transactions import TxAttempt, TxRow, TxStatus
from node.journal.database import Database
from node.types import Address, TxHash, Wei

COLUMNS = (
    "intent_id, what, recipient, data, value_wei, nonce, status, "
    "tx_hash, block_number, gas_used, fee_wei, reason"
)


class TransactionLog:
    """The ``TxStore`` of the chain's TxManager."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(
        self,
        intent_id: str,
        what: str,
        to: Address,
        data: bytes,
        value_wei: int,
        chain_nonce: int,
        *,
        exact: bool = False,
    ) -> TxRow:
        """Return the intent's row, made with the next free nonce if there was none.

        The nonce is the chain's next one, or one more than the highest still open here if that is greater and
        ``exact`` is not asked for.
        """

        def write(connection: sqlite3.Connection) -> TxRow:
            existing = _row(connection, intent_id)
            if existing is not None:
                return existing
            (highest,) = connection.execute(
                "SELECT max(nonce) FROM transactions WHERE status = ?", (TxStatus.OPEN,)
            ).fetchone()
            nonce = chain_nonce if exact or highest is None else max(chain_nonce, highest + 1)
            connection.execute(
                "INSERT INTO transactions (intent_id, what, recipient, data, value_wei, nonce, status) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (intent_id, what, to, data, str(value_wei), nonce, TxStatus.OPEN),
            )
            return _present(_row(connection, intent_id), intent_id)

        return await self._database.run(write)

    async def record_attempt(
        self, intent_id: str, tx_hash: TxHash, raw: bytes, max_fee_wei: int, tip_wei: int
    ) -> None:
        """Write a signed payload down; call it before the payload leaves the machine."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR IGNORE INTO attempts "
                "SELECT ?, ?, ?, ?, ?, count(*) FROM attempts WHERE intent_id = ?",
                (intent_id, tx_hash, raw, str(max_fee_wei), str(tip_wei), intent_id),
            )

        await self._database.run(write)

    async def settle(
        self,
        intent_id: str,
        status: str,
        tx_hash: TxHash | None,
        block_number: int | None,
        gas_used: int,
        fee_wei: int,
        reason: str | None,
    ) -> None:
        """Write the confirmed outcome."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE transactions SET status = ?, tx_hash = ?, block_number = ?, gas_used = ?, "
                "fee_wei = ?, reason = ?, settled_at = CAST(strftime('%s', 'now') AS INTEGER) "
                "WHERE intent_id = ?",
                (TxStatus(status), tx_hash, block_number, gas_used, str(fee_wei), reason, intent_id),
            )

        await self._database.run(write)

    async def row(self, intent_id: str) -> TxRow | None:
        """Return what is known of an intent."""
        return await self._database.run(lambda connection: _row(connection, intent_id))

    async def rows_at(self, nonce: int) -> list[TxRow]:
        """Return the intents that have this nonce, with or without an outcome."""
        return await self.rows_where("nonce = ?", nonce)

    async def open_rows(self) -> list[TxRow]:
        """Return the intents without an outcome, lowest nonce first."""
        return await self.rows_where("status = 'open' ORDER BY nonce")

    async def settled_rows(self) -> list[TxRow]:
        """Return the intents with an outcome, lowest nonce first."""
        return await self.rows_where("status != 'open' ORDER BY nonce")

    async def settled_between(self, first_block: int, last_block: int) -> list[TxRow]:
        """Return the intents that were mined in these blocks, both included, lowest nonce first."""
        return await self.rows_where(
            "status != 'open' AND block_number BETWEEN ? AND ? ORDER BY nonce", first_block, last_block
        )

    async def reopen(self, intent_id: str) -> None:
        """Take an intent's outcome back: the block that held it is gone. Its payloads stay."""
        await self.settle(intent_id, TxStatus.OPEN, None, None, 0, 0, None)

    async def rows_of(self, prefix: str) -> list[TxRow]:
        """Return the intents whose id begins with ``prefix:``, in the order of their nonces."""
        return await self.rows_where(
            "intent_id >= ? AND intent_id < ? ORDER BY nonce", f"{prefix}:", f"{prefix};"
        )

    async def rows_where(self, condition: str, *values: str | int) -> list[TxRow]:
        """Return rows by an SQL condition of this module's own making."""

        def read(connection: sqlite3.Connection) -> list[TxRow]:
            ids = connection.execute(f"SELECT intent_id FROM transactions WHERE {condition}", values)  # noqa: S608
            return [_present(_row(connection, intent), intent) for (intent,) in ids.fetchall()]

        return await self._database.run(read)


def _row(connection: sqlite3.Connection, intent_id: str) -> TxRow | None:
    found = connection.execute(
        f"SELECT {COLUMNS} FROM transactions WHERE intent_id = ?",  # noqa: S608
        (intent_id,),
    ).fetchone()
    if found is None:
        return None
    attempts = connection.execute(
        "SELECT tx_hash, raw, max_fee_wei, tip_wei FROM attempts WHERE intent_id = ? ORDER BY ordinal",
        (intent_id,),
    )
    return TxRow(
        intent_id=found[0],
        what=found[1],
        to=Address(found[2]),
        data=found[3],
        value_wei=Wei(int(found[4])),
        nonce=found[5],
        status=TxStatus(found[6]),
        attempts=tuple(
            TxAttempt(TxHash(h), raw, Wei(int(fee)), Wei(int(tip))) for h, raw, fee, tip in attempts
        ),
        tx_hash=TxHash(found[7]) if found[7] else None,
        block_number=found[8],
        gas_used=found[9],
        fee_wei=Wei(int(found[10])),
        reason=found[11],
    )


def _present(row: TxRow | None, intent_id: str) -> TxRow:
    if row is None:
        raise LookupError(intent_id)
    return row
