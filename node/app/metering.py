"""Counting transactions where their outcome is written down."""

from node.admission.bids import BidGas
from node.job.transactions import TxRow, TxStatus
from node.journal.transactions import TransactionLog
from node.observe.metrics import Metrics
from node.types import TxHash


class MeteredTransactions:
    """Meets the TxManager's ``TxStore``: the journal's log, with each outcome counted once."""

    def __init__(self, log: TransactionLog, metrics: Metrics, bids: BidGas) -> None:
        self._log = log
        self._bids = bids
        self._metrics = metrics
        self.reserve = log.reserve
        self.record_attempt = log.record_attempt
        self.row = log.row
        self.rows_at = log.rows_at
        self.open_rows = log.open_rows

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
        """Write the outcome, then count it."""
        before: TxRow | None = await self._log.row(intent_id)
        await self._log.settle(intent_id, status, tx_hash, block_number, gas_used, fee_wei, reason)
        if before is not None and before.status == TxStatus.OPEN:
            self._metrics.transaction(TxStatus(status).value)
            self._metrics.gas_spent(fee_wei)
            self._bids.settled(intent_id, gas_used)
