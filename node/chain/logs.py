"""Reads logs of confirmed blocks in order, in ranges that adapt to what the endpoint bears.

The cursor (block number and hash) belongs to the caller, who stores it together with what the logs caused. A
block that is no longer on the chain at the cursor's height raises ReorgDetected: nothing goes on silently.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from node.chain.client import Block, Chain, RawLog
from node.chain.rpc import RpcError
from node.errors import Fatal, Unreachable
from node.types import Address, BlockHash, BlockNumber

_FIRST_RANGE = 500
_LARGEST_RANGE = 50_000
_CROWDED = 10_000
"""Logs in one answer above which the next range is halved, so that a flood stays bounded in memory."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last block whose logs were handed out and stored."""

    block_number: BlockNumber
    block_hash: BlockHash


@dataclass(frozen=True, slots=True)
class LogBatch:
    """All logs after the previous cursor up to ``last``; ``head`` is the newest block at that moment."""

    logs: tuple[RawLog, ...]
    last: Block
    head: Block


class ReorgDetected(Fatal):
    """The chain no longer has the block that was taken as confirmed; ``number``, ``expected``, ``found``."""

    def __init__(self, number: int, expected: BlockHash, found: BlockHash) -> None:
        super().__init__(
            f"block {number} was {expected} and is now {found}: the chain was reorganised deeper than the "
            "configured confirmations; check the RPC endpoint and raise chain.confirmations"
        )
        self.number = BlockNumber(number)
        self.expected = expected
        self.found = found


class ConfirmedLogs:
    """A forward reader. After ``next`` returned a batch, the following call starts behind it."""

    def __init__(
        self,
        chain: Chain,
        addresses: Sequence[Address],
        topics: Sequence[str],
        *,
        confirmations: int,
        cursor: Cursor | None,
        start_block: int,
    ) -> None:
        self._chain = chain
        self._addresses = tuple(addresses)
        self._topics = tuple(topics)
        self._confirmations = confirmations
        self._cursor = cursor
        self._start_block = start_block
        self._range = _FIRST_RANGE
        self._idle_head: BlockHash | None = None
        self._log = structlog.get_logger()

    async def next(self) -> LogBatch | None:
        """Return the next batch of at least one block, or None while nothing new is confirmed.

        Raises ReorgDetected, Unreachable, and RpcError when the endpoint refuses even a single block.
        """
        head = await self._chain.head()
        if head.hash == self._idle_head:
            return None
        await self._check_cursor(head)
        first = self._start_block if self._cursor is None else self._cursor.block_number + 1
        confirmed = head.number - self._confirmations
        if confirmed < first:
            self._idle_head = head.hash
            return None
        while True:
            last = min(confirmed, first + self._range - 1)
            try:
                batch = await self._read(first, last, head)
            except RpcError as error:
                if last == first:
                    raise
                self._range = (last - first + 1) // 2
                self._log.info("log_range_halved", blocks=self._range, problem=error.message[:200])
            except Unreachable:
                # A range too large may also show as a timeout or a cut answer: ask for less next time.
                self._range = max(1, (last - first + 1) // 2)
                raise
            else:
                return batch

    async def _read(self, first: int, last: int, head: Block) -> LogBatch | None:
        end = head if last == head.number else await self._chain.block(last)
        if end is None:
            return None
        logs = await self._chain.logs(first, last, self._addresses, self._topics)
        # The same block before and after the read: otherwise the logs may mix two forks.
        again = await self._chain.block(last)
        if again is None or again.hash != end.hash:
            return None
        logs.sort(key=lambda log: (log.block_number, log.log_index))
        self._adapt(last - first + 1, len(logs))
        self._cursor = Cursor(end.number, end.hash)
        return LogBatch(tuple(logs), end, head)

    async def _check_cursor(self, head: Block) -> None:
        cursor = self._cursor
        if cursor is None or head.number < cursor.block_number:
            # A head behind the cursor is an endpoint that lags; it proves nothing about our block.
            return
        block = head if head.number == cursor.block_number else await self._chain.block(cursor.block_number)
        if block is None:
            raise Unreachable(f"the RPC endpoint has block {head.number} but not block {cursor.block_number}")
        if block.hash != cursor.block_hash:
            raise ReorgDetected(cursor.block_number, cursor.block_hash, block.hash)

    def _adapt(self, blocks: int, logs: int) -> None:
        if logs > _CROWDED:
            self._range = max(1, blocks // 2)
        elif blocks >= self._range:
            self._range = min(_LARGEST_RANGE, self._range * 2)
