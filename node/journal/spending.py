"""What the key signed for: written before the signature, read to keep the policy's caps.

One row per nonce. Whether a transaction had an effect, and what its gas cost in the end, is taken from the
transactions beside it.
"""

import sqlite3
from collections.abc import Iterable

from node.job.spending import SignedFor
from node.job.transactions import TxStatus
from node.journal.database import Database
from node.types import Address, DealId, Wei

_SELECT = """
SELECT s.nonce, s.at, s.what, s.deal_id, s.counterparty, s.tokens_wei, s.gas_wei, s.over,
    group_concat(t.status), group_concat(t.fee_wei)
FROM signed AS s LEFT JOIN transactions AS t ON t.nonce = s.nonce AND t.data = s.data
WHERE s.account = ?
"""
_FINAL = {TxStatus.MINED, TxStatus.REVERTED, TxStatus.REFUSED}
_WITHOUT_EFFECT = {TxStatus.REVERTED, TxStatus.REFUSED}


class Spending:
    """The memory of the chain's PolicySigner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest(self) -> float:
        """Return the newest time in the memory, 0 if there is none."""

        def read(connection: sqlite3.Connection) -> float:
            (newest,) = connection.execute("SELECT max(at) FROM signed").fetchone()
            return float(newest or 0.0)

        return await self._database.run(read)

    async def deal(self, account: Address, deal_id: DealId) -> SignedFor | None:
        """Return what was signed for a deal and can still take tokens."""
        found = await self._entries("AND s.deal_id = ? AND s.counterparty IS NOT NULL", account, deal_id)
        return next((entry for entry in found if not entry.failed), None)

    async def signed_for(
        self, account: Address, since: float, counterparty: Address | None
    ) -> list[SignedFor]:
        """Return what was signed since then, and what was ever signed with a counterparty and is not over."""
        return await self._entries(
            "AND (s.at > ? OR (s.counterparty = ? AND s.over = 0 AND s.tokens_wei != '0'))",
            account,
            since,
            counterparty,
        )

    async def remember(self, account: Address, data: bytes, entry: SignedFor) -> None:
        """Write down what a nonce is signed for, in the place of what it was signed for before."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO signed (account, nonce, at, what, data, deal_id, counterparty, "
                "tokens_wei, gas_wei) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    account,
                    entry.nonce,
                    entry.at,
                    entry.what,
                    data,
                    entry.deal_id,
                    entry.counterparty,
                    str(entry.tokens_wei),
                    str(entry.gas_wei),
                ),
            )

        await self._database.run(write)

    async def over(self, account: Address, deal_ids: Iterable[DealId]) -> None:
        """Note that deals have ended: nothing of ours is locked in them."""
        ended = [(account, deal_id) for deal_id in deal_ids]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("UPDATE signed SET over = 1 WHERE account = ? AND deal_id = ?", ended)

        await self._database.run(write)

    async def _entries(self, condition: str, account: Address, *values: object) -> list[SignedFor]:
        def read(connection: sqlite3.Connection) -> list[SignedFor]:
            rows = connection.execute(
                f"{_SELECT} {condition} GROUP BY s.account, s.nonce ORDER BY s.nonce",
                (account, *values),
            )
            return [_entry(row) for row in rows.fetchall()]

        return await self._database.run(read)


def _entry(row: tuple[object, ...]) -> SignedFor:
    nonce, at, what, deal_id, counterparty, tokens_wei, gas_wei, over, statuses, fees = row
    found = {TxStatus(status) for status in str(statuses or "").split(",") if status}
    settled = bool(found) and found <= _FINAL
    cost = sum(int(fee) for fee in str(fees).split(",")) if settled else int(str(gas_wei))
    return SignedFor(
        nonce=int(str(nonce)),
        at=float(str(at)),
        what=str(what),
        deal_id=None if deal_id is None else DealId(str(deal_id)),
        counterparty=None if counterparty is None else Address(str(counterparty)),
        tokens_wei=Wei(int(str(tokens_wei))),
        gas_wei=Wei(cost),
        over=bool(over),
        failed=settled and found <= _WITHOUT_EFFECT,
    )
