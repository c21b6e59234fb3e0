"""What the journal knows of the uses of a key's nonces: the ``Memory`` of the chain's KeyWatch."""

import sqlite3

from node.journal.database import Database
from node.types import Address, TxHash


class KeyUses:
    """Which payloads were signed here for a nonce, and up to which nonce every use was judged."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def signed_hashes(self, nonce: int) -> frozenset[TxHash]:
        """Return the hashes of every payload signed here for a nonce."""

        def read(connection: sqlite3.Connection) -> frozenset[TxHash]:
            rows = connection.execute(
                "SELECT a.tx_hash FROM attempts a JOIN transactions t USING (intent_id) WHERE t.nonce = ?",
                (nonce,),
            )
            return frozenset(TxHash(tx_hash) for (tx_hash,) in rows)

        return await self._database.run(read)

    async def judged_up_to(self, account: Address) -> int | None:
        """Return below which nonce every use was judged, or None at the first start."""

        def read(connection: sqlite3.Connection) -> int | None:
            row = connection.execute("SELECT nonce FROM key_uses WHERE account = ?", (account,)).fetchone()
            return None if row is None else int(row[0])

        return await self._database.run(read)

    async def judged(self, account: Address, nonce: int) -> None:
        """Remember below which nonce every use was judged."""
        await self._database.run(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO key_uses VALUES (?, ?)", (account, nonce)
            )
        )
