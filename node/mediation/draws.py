"""Following the draws: each confirmed ``MediationRequested`` that names us is written down with its block."""

from typing import Protocol

import structlog

from node.chain.client import Block, Chain
from node.chain.events import MEDIATION_REQUESTED, MediationRequested, decode
from node.chain.logs import ConfirmedLogs, Cursor, LogBatch, ReorgDetected
from node.clock import Clock
from node.errors import Retryable
from node.types import Address, BlockHash, BlockNumber, DealId

_BEFORE_A_REORG = 256
"""How many blocks are read again behind a reorganisation: a case that is known already stays as it is."""


class DrawLog(Protocol):
    """The journal of cases."""

    async def cursor(self) -> tuple[BlockNumber, BlockHash] | None:
        """Return the last block whose draws are written down."""
        ...

    async def drawn(
        self, draws: list[tuple[DealId, BlockNumber]], block_number: BlockNumber, block_hash: BlockHash
    ) -> None:
        """Write down draws together with the block up to which they were read."""
        ...


class DrawFollower:
    """``start_block`` is where a first start begins to read."""

    def __init__(
        self,
        chain: Chain,
        mediation: Address,
        address: Address,
        log: DrawLog,
        *,
        confirmations: int,
        start_block: int,
        clock: Clock,
    ) -> None:
        self._chain = chain
        self._mediation = mediation
        self._address = address
        self._draws = log
        self._confirmations = confirmations
        self._start_block = start_block
        self._clock = clock
        self._reader: ConfirmedLogs | None = None
        self._log = structlog.get_logger()

    async def run(self, every_s: float) -> None:
        """Read on for ever."""
        while True:
            try:
                while await self.read():
                    pass
            except Retryable as error:
                self._log.info("draws_wait", problem=str(error))
            await self._clock.sleep(every_s)

    async def read(self) -> bool:
        """Take up one batch of blocks. Returns False if there is nothing more to read for now."""
        if self._reader is None:
            self._reader = await self._new_reader()
        try:
            batch = await self._reader.next()
        except ReorgDetected as reorg:
            await self._go_back(self._reader, reorg)
            return True
        if batch is None:
            return False
        await self._draws.drawn(self._ours(batch), batch.last.number, batch.last.hash)
        return not batch.caught_up

    def _ours(self, batch: LogBatch) -> list[tuple[DealId, BlockNumber]]:
        events = [decode(log) for log in batch.logs]
        return [
            (event.deal_id, event.ref.block_number)
            for event in events
            if isinstance(event, MediationRequested) and event.mediator == self._address
        ]

    async def _new_reader(self) -> ConfirmedLogs:
        known = await self._draws.cursor()
        return ConfirmedLogs(
            self._chain,
            [self._mediation],
            [MEDIATION_REQUESTED],
            confirmations=self._confirmations,
            cursor=None if known is None else Cursor(*known),
            start_block=self._start_block,
        )

    async def _go_back(self, reader: ConfirmedLogs, reorg: ReorgDetected) -> None:
        block: Block | None = await self._chain.block(max(0, reorg.number - _BEFORE_A_REORG))
        if block is None:
            raise Retryable("the RPC endpoint is behind the blocks that were reorganised")
        self._log.info("draws_read_again", from_block=block.number)
        await self._draws.drawn([], block.number, block.hash)
        reader.rewind(Cursor(block.number, block.hash))
