"""Are transactions that count as mined still where they were mined, when the log reader passes their block?

A transaction is settled at the same depth at which logs are read, but by another task: a reorganisation can
fall between the two and drop a block that the reader never saw. From the reader's block on, a drop shows as a
rewind; this look closes the gap before it.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from node.chain.client import Receipt
from node.job.transactions import TxRow
from node.types import TxHash


class Receipts(Protocol):
    """Outcomes of transactions; the chain's ``Chain``."""

    async def receipt(self, tx_hash: TxHash) -> Receipt | None:
        """Return the receipt of a mined transaction."""
        ...


class SettledRows(Protocol):
    """The journal of transactions."""

    async def settled_between(self, first_block: int, last_block: int) -> list[TxRow]:
        """Return the rows that were settled in these blocks, both included."""
        ...

    async def reopen(self, intent_id: str) -> None:
        """Take a row's outcome back."""
        ...


class SettledCheck:
    """Looks once at every settled transaction, when its block has been read."""

    def __init__(
        self, receipts: Receipts, rows: SettledRows, follow_transactions: Callable[[], Awaitable[None]]
    ) -> None:
        self._receipts = receipts
        self._rows = rows
        self._follow_transactions = follow_transactions
        self._log = structlog.get_logger()

    async def look(self, first_block: int, last_block: int) -> None:
        """Open again what is no longer in its block, and have it followed. Raises Unreachable."""
        reopened = False
        for row in await self._rows.settled_between(first_block, last_block):
            if row.tx_hash is None:
                continue
            receipt = await self._receipts.receipt(row.tx_hash)
            if receipt is None or receipt.block_number != row.block_number:
                await self._rows.reopen(row.intent_id)
                self._log.warning("tx_dropped", intent=row.intent_id, tx=row.tx_hash, block=row.block_number)
                reopened = True
        if reopened:
            await self._follow_transactions()
