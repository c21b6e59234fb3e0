"""Reads logs of confirmed blocks in order, in ranges that adapt to what the endpoint bears.

The cursor (block number and hash) belongs to the caller, who stores it together with what the logs caused. A
block that is no longer on the chain at the cursor's height raises ReorgDetected: nothing goes on silently.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from node.chain.client import Block, Chain, RawLog
from node.chain.completeness import MOST_BLOCKS
from node.chain.jsonrpc import EndpointLost, ReplyTooLarge, RpcError
from node.chain.refusals import Refusal, kind_of
from node.errors import NodeError, Unreachable
from node.types import Address, BlockHash, BlockNumber

_FIRST_RANGE = 500
_LARGEST_RANGE = 50_000
_OTHER_ENDPOINTS = 4
_TOO_MUCH = frozenset({Refusal.RANGE, Refusal.INTERNAL, Refusal.OTHER})
"""Refusals that may mean too many blocks or logs, known words or not: half of the range is asked for."""

_CHECKED_BACKLOG = 4 * MOST_BLOCKS
"""A node that is no further behind reads in ranges that are checked for completeness."""

_CROWDED = 4_000
"""About so many logs are asked for at once, so that a flood stays bounded in memory."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last block whose logs were handed out and stored."""

    block_number: BlockNumber
    block_hash: BlockHash


@dataclass(frozen=True, slots=True)
class LogBatch:
    """All logs after the previous cursor up to ``last``; ``head`` is the newest block at that moment.

    ``caught_up``: nothing that is confirmed at this head lies behind ``last``.
    """

    logs: tuple[RawLog, ...]
    last: Block
    head: Block
    caught_up: bool = False


class ReorgDetected(NodeError):
    """The chain no longer has the block that was taken as confirmed: ``number``, ``expected``, ``found``.

    ``head_number`` is the newest block that was seen while the lost one was still on the chain.

    Whoever acted on later blocks takes that back first, then lets the reader ``rewind``.
    """

    def __init__(self, number: int, expected: BlockHash, found: BlockHash, head_number: int) -> None:
        super().__init__(f"block {number} was {expected} and is now {found}: the chain was reorganised")
        self.number = BlockNumber(number)
        self.expected = expected
        self.found = found
        self.head_number = head_number


class ConfirmedLogs:
    """A forward reader. After ``next`` returned a batch, the following call starts behind it.

    ``end_block`` is the last block to read; None reads on for ever.
    """

    def __init__(
        self,
        chain: Chain,
        addresses: Sequence[Address],
        topics: Sequence[str],
        *,
        confirmations: int,
        cursor: Cursor | None,
        start_block: int,
        end_block: int | None = None,
    ) -> None:
        self._pool = self._chain = chain
        self._addresses = tuple(addresses)
        self._topics = tuple(topics)
        self._confirmations = confirmations
        self._cursor = cursor
        self._before = cursor
        self._start_block = start_block
        self._end_block = end_block
        self._range = _FIRST_RANGE
        self._ceiling = _LARGEST_RANGE
        self._idle_head: BlockHash | None = None
        self._time_told = False
        self._head_number = 0
        self._log = structlog.get_logger()

    async def next(self) -> LogBatch | None:
        """Return the next batch of at least one block, or None while nothing new is confirmed.

        The first call that finds nothing new returns an empty batch at the cursor: a reader that starts on a
        quiet chain has to know its time, or what fell due while it was away would wait for the next block.
        Raises ReorgDetected, Unreachable, and RpcError when the endpoint refuses even a single block.
        """
        for _ in range(_OTHER_ENDPOINTS):
            # Head, logs and blocks of one batch come from one endpoint: two may be on different forks.
            self._chain = self._pool.pinned()
            try:
                return await self._next()
            except EndpointLost as lost:
                self._log.info("log_endpoint_changed", problem=str(lost)[:200])
        raise Unreachable("the RPC endpoints fail one after the other while logs are read")

    async def _next(self) -> LogBatch | None:
        head = await self._chain.head()
        if head.hash == self._idle_head:
            return None
        first = self._start_block if self._cursor is None else self._cursor.block_number + 1
        confirmed = self._confirmed(head)
        if confirmed < first:
            at_cursor = await self._check_cursor(head)
            self._idle_head = head.hash
            if self._time_told or at_cursor is None:
                return None
            self._time_told = True
            return LogBatch((), at_cursor, head, caught_up=True)
        while True:
            last = min(confirmed, first + self._blocks_at_once(confirmed - first + 1) - 1)
            try:
                batch = await self._read(first, last, head)
            except (RpcError, ReplyTooLarge) as error:
                if last == first or (isinstance(error, RpcError) and kind_of(error) not in _TOO_MUCH):
                    raise
                # A refusal may be about the number of blocks alone; a cut answer was paid for, and dearly.
                share = 2 if isinstance(error, RpcError) else 8
                self._range = max(1, (last - first + 1) // share)
                self._ceiling = max(1, (last - first + 1) // 2)
                self._log.info("log_range_cut", blocks=self._range, problem=str(error)[:200])
            except Unreachable:
                # A range too large may also show as a timeout: ask for less next time.
                self._range = max(1, (last - first + 1) // 2)
                raise
            else:
                return batch

    def again(self) -> None:
        """Go back behind the batch before the last one: the last one could not be used to its end."""
        self._cursor, self._idle_head, self._time_told = self._before, None, False

    def rewind(self, cursor: Cursor) -> None:
        """Read on behind another block than the last one handed out."""
        self._before = self._cursor = cursor
        self._idle_head = None

    async def _read(self, first: int, last: int, head: Block) -> LogBatch | None:
        end = head if last == head.number else await self._chain.block(last)
        if end is None:
            return None
        logs = await self._chain.logs(first, last, self._addresses, self._topics)
        # The same block before and after the read, or the logs may mix two forks; and the cursor's block last
        # of all, or the whole range may come from a fork that took the chain's place while it was read.
        again = await self._chain.block(last)
        if again is None or again.hash != end.hash:
            return None
        await self._check_cursor(head)
        logs.sort(key=lambda log: (log.block_number, log.log_index))
        self._adapt(last - first + 1, len(logs))
        self._before, self._cursor = self._cursor, Cursor(end.number, end.hash)
        self._time_told = True
        return LogBatch(tuple(logs), end, head, caught_up=last == self._confirmed(head))

    def _blocks_at_once(self, backlog: int) -> int:
        return min(self._range, MOST_BLOCKS) if backlog <= _CHECKED_BACKLOG else self._range

    def _confirmed(self, head: Block) -> int:
        confirmed = head.number - self._confirmations
        return confirmed if self._end_block is None else min(confirmed, self._end_block)

    async def _check_cursor(self, head: Block) -> Block | None:
        cursor = self._cursor
        if cursor is None or head.number < cursor.block_number:
            # A head behind the cursor is an endpoint that lags; it proves nothing about our block.
            return None
        block = head if head.number == cursor.block_number else await self._chain.block(cursor.block_number)
        if block is None:
            raise Unreachable(f"the RPC endpoint has block {head.number} but not block {cursor.block_number}")
        if block.hash != cursor.block_hash:
            raise ReorgDetected(cursor.block_number, cursor.block_hash, block.hash, self._head_number)
        self._head_number = head.number
        return block

    def _adapt(self, blocks: int, logs: int) -> None:
        if logs > _CROWDED:
            self._range = max(1, blocks * _CROWDED // logs)
        elif blocks >= self._range and 2 * logs <= _CROWDED:
            # What was too much once is come near to again slowly: most blocks are like those before them.
            self._range = min(self._ceiling, self._range * 2)
            self._ceiling = min(_LARGEST_RANGE, self._ceiling + max(1, self._ceiling // 8))
