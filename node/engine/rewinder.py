"""Back to the chain as it is now: what to do when blocks that were read are no longer on it.

Finds the newest block that still stands, takes back what rested on later ones, and lets the feed read on from
there. Blocks with ``finality_blocks`` on top were promised never to go: if one is gone the node halts.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from node.chain.client import Block
from node.chain.logs import ReorgDetected
from node.engine.engine import Facts
from node.errors import Halted
from node.job.deal import Agreement, AgreementState
from node.job.events import BlocksDropped, JobEvent
from node.journal.records import CursorRow, JobRow
from node.types import BlockNumber, DealId, JobId


class Headers(Protocol):
    """Blocks by number; the chain's ``Chain``."""

    async def block(self, number: int) -> Block | None:
        """Return a block, or None if the chain is not that long."""
        ...


class Agreements(Protocol):
    """The state of deals; the chain's ``MarketContracts``."""

    async def get_agreement(self, deal_id: DealId, at: int | None = None) -> Agreement:
        """Return the state and its times as of block ``at``."""
        ...


class Positions(Protocol):
    """What the journal knows of the way behind us."""

    async def checkpoints(self) -> list[CursorRow]:
        """Return the blocks the cursor has rested on, newest first."""
        ...

    async def jobs_resting_above(self, block_number: int) -> list[JobRow]:
        """Return the jobs, open or ended, that rest on facts of later blocks."""
        ...


class Halting(Protocol):
    """Where a halt is written down."""

    async def write(self, reason: str) -> None:
        """Make the reason durable."""
        ...


class Rewinder:
    """Carries out a rewind; everything it decides is in one commit of the engine."""

    def __init__(
        self,
        *,
        headers: Headers,
        agreements: Agreements,
        positions: Positions,
        halts: Halting,
        post: Callable[[Facts], Awaitable[None]],
        follow_transactions: Callable[[], Awaitable[None]],
        finality_blocks: int,
        start_block: int,
    ) -> None:
        self._headers = headers
        self._agreements = agreements
        self._positions = positions
        self._halts = halts
        self._post = post
        self._follow_transactions = follow_transactions
        self._finality_blocks = finality_blocks
        self._start_block = start_block
        self._log = structlog.get_logger()

    async def rewind(self, broken: ReorgDetected) -> CursorRow:
        """Return the block to read on from, after everything that rested on later ones is taken back.

        Raises Halted if a final block is gone, Unreachable while the endpoint does not answer.
        """
        ancestor = await self._ancestor(broken)
        known = ancestor is not None
        if ancestor is None:
            ancestor = await self._before_everything(broken)
        rows = await self._positions.jobs_resting_above(ancestor.block_number)
        events: list[tuple[JobId, JobEvent]] = []
        for row in rows:
            deal = row.job.deal
            agreement = None
            if deal is not None and known:
                agreement = await self._agreements.get_agreement(deal.deal_id, at=ancestor.block_number)
            elif deal is not None:
                # Before the first block ever read: no deal of ours was there, perhaps not even its contract.
                agreement = Agreement(AgreementState.DEAL_NEGOTIATING)
            deal_id = deal.deal_id if deal else None
            events.append((row.job.job_id, BlocksDropped(ancestor.block_number, agreement, deal_id)))
        self._log.warning(
            "blocks_dropped",
            ancestor=ancestor.block_number,
            dropped_from=broken.number,
            jobs=[job_id for job_id, _ in events],
        )
        await self._post(Facts(events=tuple(events), rewind=ancestor))
        await self._follow_transactions()
        return ancestor

    async def _ancestor(self, broken: ReorgDetected) -> CursorRow | None:
        checkpoints = await self._positions.checkpoints()
        newest_head = max([broken.head_number, *(point.head_number for point in checkpoints)])
        gone: CursorRow | None = None
        standing: CursorRow | None = None
        for point in checkpoints:
            block = await self._headers.block(point.block_number)
            if block is not None and block.hash == point.block_hash:
                standing = point
                break
            gone = point
        # The oldest block that is gone decides: it had the most blocks on top.
        if gone is not None and newest_head - gone.block_number >= self._finality_blocks:
            await self._halt(gone, newest_head)
        return standing

    async def _halt(self, gone: CursorRow, newest_head: int) -> None:
        depth = newest_head - gone.block_number
        reason = (
            f"block {gone.block_number} ({gone.block_hash}) had {depth} blocks on top and is no longer on "
            f"the chain, although chain.finality_blocks is {self._finality_blocks}: "
            "compare the RPC endpoint with another one; if the chain really is as it says, sdv-node resume"
        )
        await self._halts.write(reason)
        self._log.critical("node_halted", reason=reason)
        raise Halted(reason)

    async def _before_everything(self, broken: ReorgDetected) -> CursorRow:
        number = max(0, self._start_block - 1)
        block = await self._headers.block(number)
        if block is None:
            raise broken
        return CursorRow(BlockNumber(number), block.hash)
