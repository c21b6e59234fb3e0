"""Where the journal stands on the chain: cursor, checkpoints, and the way back after a reorganisation.

Runs inside a commit of ``journal``; knows rows, not jobs.
"""

import sqlite3
from collections.abc import Iterable

from node.job.transactions import TxStatus
from node.journal.records import CursorRow

CHAIN_CURSOR = "market"
KEPT_CHECKPOINTS = 1024


def keep_checkpoints(connection: sqlite3.Connection, blocks: Iterable[CursorRow]) -> None:
    """Store blocks to come back to. What rests on a block is known to be gone if the block is."""
    connection.executemany(
        "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)",
        [(block.block_number, block.block_hash, block.head_number) for block in blocks],
    )


def move_cursor(connection: sqlite3.Connection, cursor: CursorRow) -> None:
    """Store how far the logs are read, and the block as one to come back to."""
    connection.execute(
        "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)",
        (CHAIN_CURSOR, cursor.block_number, cursor.block_hash),
    )
    keep_checkpoints(connection, [cursor])
    connection.execute(
        "DELETE FROM checkpoints WHERE block_number <= "
        "(SELECT block_number FROM checkpoints ORDER BY block_number DESC LIMIT 1 OFFSET ?)",
        (KEPT_CHECKPOINTS,),
    )


def rewind_to(connection: sqlite3.Connection, ancestor: CursorRow) -> None:
    """Forget what was read above ``ancestor`` and open what was settled there again.

    A transaction whose block is gone may be mined in another one, or never: it is followed anew.
    """
    above = (ancestor.block_number,)
    connection.execute("DELETE FROM payments WHERE block_number > ?", above)
    connection.execute("DELETE FROM skipped WHERE block_number > ?", above)
    connection.execute("DELETE FROM checkpoints WHERE block_number > ?", above)
    connection.execute(
        "UPDATE transactions SET status = ?, tx_hash = NULL, block_number = NULL, gas_used = 0, "
        "fee_wei = '0', reason = NULL WHERE block_number > ?",
        (TxStatus.OPEN, *above),
    )
    move_cursor(connection, ancestor)
