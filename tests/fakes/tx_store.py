"""An in-memory TxStore that insists on the order the real one relies on."""

import asyncio
from dataclasses import replace

from node.job.transactions import TxAttempt, TxRow, TxStatus
from node.types import Address, TxHash, Wei


class MemoryTxStore:
    """Keeps rows like the journal does. ``journal`` lists every write, so tests can check what came first."""

    def __init__(self) -> None:
        self.rows: dict[str, TxRow] = {}
        self.journal: list[tuple[str, str]] = []
        self.settled = asyncio.Event()

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
        if intent_id not in self.rows:
            open_nonces = [row.nonce for row in self.rows.values() if row.status is TxStatus.OPEN]
            above = [] if exact else [used + 1 for used in open_nonces if used is not None]
            nonce = max([chain_nonce, *above])
            self.rows[intent_id] = TxRow(intent_id, what, to, data, Wei(value_wei), nonce, TxStatus.OPEN)
            self.journal.append(("reserve", intent_id))
        return self.rows[intent_id]

    async def record_attempt(
        self, intent_id: str, tx_hash: TxHash, raw: bytes, max_fee_wei: int, tip_wei: int
    ) -> None:
        row = self.rows[intent_id]
        assert row.status is TxStatus.OPEN, f"{intent_id} is settled and must not be signed again"
        attempt = TxAttempt(tx_hash, raw, Wei(max_fee_wei), Wei(tip_wei))
        self.rows[intent_id] = replace(row, attempts=(*row.attempts, attempt))
        self.journal.append(("record", tx_hash))

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
        row = self.rows[intent_id]
        assert row.status is TxStatus.OPEN, f"{intent_id} is settled twice"
        self.rows[intent_id] = replace(
            row,
            status=TxStatus(status),
            tx_hash=tx_hash,
            block_number=block_number,
            gas_used=gas_used,
            fee_wei=Wei(fee_wei),
            reason=reason,
        )
        self.journal.append(("settle", intent_id))
        self.settled.set()

    async def row(self, intent_id: str) -> TxRow | None:
        return self.rows.get(intent_id)

    async def rows_at(self, nonce: int) -> list[TxRow]:
        return [row for row in self.rows.values() if row.nonce == nonce]

    async def open_rows(self) -> list[TxRow]:
        rows = [row for row in self.rows.values() if row.status is TxStatus.OPEN]
        return sorted(rows, key=lambda row: row.nonce or 0)
