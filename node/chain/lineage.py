"""The rows of one intent: each nonce that it lost, and each one given back, makes room for another row.

``j17:agree`` is followed by ``j17:agree~2``. Only the newest counts; those before it are refused.
"""

from node.chain.client import Call
from node.chain.outcomes import Failed, Mined, TxOutcome, TxStore
from node.errors import Fatal
from node.job.transactions import TxRow, TxStatus
from node.types import BlockNumber

SEPARATOR = "~"
"""Separates an intent's id from the number of its row."""


def intent_of(row_id: str) -> str:
    """Return the id of the intent that a row belongs to."""
    return row_id.partition(SEPARATOR)[0]


def successor(row_id: str) -> str:
    """Return the id of the row after this one."""
    intent_id, _, count = row_id.partition(SEPARATOR)
    return f"{intent_id}{SEPARATOR}{int(count or 1) + 1}"


async def newest_row(store: TxStore, intent_id: str, call: Call | None = None) -> tuple[str, TxRow | None]:
    """Return the id of the intent's newest row and the row, None while it has no nonce.

    Raises Fatal if a row of it was written for another call than ``call``.
    """
    row_id = intent_id
    while True:
        row = await store.row(row_id)
        if row is not None and call is not None and not same(call_of(row), call):
            raise Fatal(f"intent {row_id} was used for another call before: ids must be unique")
        if row is None or row.status is not TxStatus.REFUSED:
            return row_id, row
        row_id = successor(row_id)


def call_of(row: TxRow) -> Call:
    """Return the call that a row was written for."""
    return Call(row.to, row.data, row.what, row.value_wei)


def same(one: Call, other: Call) -> bool:
    """Whether two calls do the same; what they are called does not count."""
    return (one.to, one.data, one.value_wei) == (other.to, other.data, other.value_wei)


def settled(intent_id: str, row: TxRow) -> TxOutcome:
    """Return the outcome that a row which is no longer open has recorded."""
    if row.status is TxStatus.MINED and row.tx_hash is not None and row.block_number is not None:
        return Mined(intent_id, row.tx_hash, BlockNumber(row.block_number), row.gas_used, row.fee_wei)
    return Failed(intent_id, row.reason or "reverted", row.tx_hash)
