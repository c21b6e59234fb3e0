"""From confirmed logs to events: which offers are ours to look at, and what happened to our deals.

Hostile or foreign logs never stop the feed; each becomes a reason in ``skipped`` and the cursor moves on.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from node.chain.client import Block, RawLog
from node.chain.events import (
    DealStateChange,
    JobAdded,
    LogRef,
    MediationRequested,
    Payment,
    Undecodable,
    decode,
)
from node.chain.logs import Cursor, LogBatch
from node.errors import Retryable
from node.job.deal import AgreementState, PaymentDirection, PaymentReason
from node.job.events import (
    DealMoved,
    Declined,
    HireSeen,
    MediatorDrawn,
    Offer,
    OfferSeen,
    ProposalMined,
)
from node.job.job import hire_id_for, is_hire, job_id_for
from node.job.sifting import Left, Refused, Sifted
from node.job.spec import InvalidInputs, parse_inputs
from node.journal.records import CursorRow, LedgerRow
from node.market.batch import FeedBatch
from node.market.own_deals import OwnDeals
from node.types import Address, BlockNumber, DealId, JobId

LOGS_WITHOUT_A_PAUSE = 256
"""So many logs are read before other tasks get a turn: some ten milliseconds."""


class LogSource(Protocol):
    """Confirmed logs in order; the chain's ``ConfirmedLogs``."""

    async def next(self) -> LogBatch | None:
        """Return the next range, or None when nothing new is confirmed."""
        ...

    def again(self) -> None:
        """Hand out the last range once more: it could not be understood to its end."""
        ...

    def rewind(self, cursor: Cursor) -> None:
        """Read on behind another block than the last one handed out."""
        ...


class Headers(Protocol):
    """Block headers by number; the chain's ``Chain``."""

    async def block(self, number: int) -> Block | None:
        """Return the block, or None if the endpoint does not have it."""
        ...


class OfferGate(Protocol):
    """What is asked about offers before they become jobs; admission's ``Intake``."""

    async def sift(self, offers: Sequence[Offer]) -> Sifted:
        """Return which offers are left and which waiting jobs make room; raises Unreachable."""
        ...


class Hires(Protocol):
    """Deals that job creators agreed to first; the market's ``DirectHires``."""

    async def read(
        self, log: Payment | DealStateChange, at: int, *, age_s: int, just_seen: Mapping[int, Offer]
    ) -> HireSeen | str | None:
        """Return the hire that a job creator's locked payment begins, or why it is none that can be taken.

        After a reorganisation the agreement of a known hire may tell of it first, when ours came before it.

        ``just_seen`` holds offers that are not journaled yet. None: the deal names somebody else. Raises
        Unreachable while the endpoint does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class OfferPolicy:
    """What makes an offer worth a job at first sight."""

    modules: frozenset[str]
    max_age_s: int


class MarketFeed:
    """Turns log batches into feed batches.

    ``own_deals`` tells which deals are ours, ``let_go`` which jobs have no claim on theirs any more.
    """

    def __init__(
        self,
        source: LogSource,
        headers: Headers,
        *,
        provider: Address,
        policy: OfferPolicy,
        gate: OfferGate,
        own_deals: OwnDeals,
        hires: Hires | None = None,
        let_go: Callable[[JobId], bool] = lambda _: False,
        orphaned: Callable[[JobId], bool] = lambda _: False,
    ) -> None:
        self._source = source
        self._headers = headers
        self._provider = provider
        self._policy = policy
        self._gate = gate
        self._own_deals = own_deals
        self._hires = hires
        self._let_go = let_go
        self._orphaned = orphaned

    async def next(self) -> FeedBatch | None:
        """Return the next batch, or None when nothing new is confirmed.

        Raises Unreachable while the endpoint does not answer; the same range is read again then.
        """
        logs = await self._source.next()
        if logs is None:
            return None
        try:
            return await self._understand(logs)
        except Retryable:
            self._source.again()
            raise

    async def _understand(self, logs: LogBatch) -> FeedBatch:
        batch = FeedBatch(last=logs.last, head=logs.head, caught_up=logs.caught_up)
        stale = logs.last.timestamp < logs.head.timestamp - self._policy.max_age_s
        times: dict[BlockNumber, int] = {logs.last.number: logs.last.timestamp}
        offers: list[tuple[LogRef, Offer]] = []
        for count, raw in enumerate(logs.logs, 1):
            if count % LOGS_WITHOUT_A_PAUSE == 0:
                await asyncio.sleep(0)
            log = decode(raw)
            match log:
                case JobAdded():
                    at = logs.last.timestamp if stale else await self._time(raw, times)
                    offer = self._offer(batch, log, at)
                    if offer is not None:
                        offers.append((log.ref, offer))
                case DealStateChange():
                    job_id = await self._job_of(batch, log.deal_id)
                    if job_id is not None:
                        at = await self._time(raw, times)
                        if log.state is AgreementState.DEAL_AGREED and self._moved_block(batch, job_id, log):
                            await self._hire(batch, log, at, offers)
                        paid = self._paid(logs.logs, log)
                        moved = DealMoved(log.state, at, log.ref.tx_hash, paid, log.ref.block_number)
                        batch.events.append((job_id, moved))
                case Payment():
                    job_id = await self._job_of(batch, log.deal_id)
                    if self._may_hire(batch, job_id, log):
                        at = await self._time(raw, times)
                        job_id = await self._hire(batch, log, at, offers) or job_id
                    if job_id is not None:
                        self._payment(batch, job_id, log, await self._time(raw, times))
                case MediationRequested():
                    job_id = await self._job_of(batch, log.deal_id)
                    if job_id is not None:
                        at = await self._time(raw, times)
                        batch.events.append((job_id, MediatorDrawn(log.mediator, at, log.ref.block_number)))
                case Undecodable() if log.event == "JobAdded":
                    unreadable = Left(Refused.UNREADABLE, f"not readable: {log.problem}")
                    batch.skip(log.ref, log.number, unreadable)
                case _:
                    pass
        await self._let_in(batch, offers)
        batch.rest_on_blocks_of(logs)
        return batch

    async def _let_in(self, batch: FeedBatch, offers: Sequence[tuple[LogRef, Offer]]) -> None:
        sifted = await self._gate.sift([offer for _, offer in offers])
        for job_id, reason in sifted.displaced.items():
            batch.events.append((job_id, Declined(reason, Refused.CROWDED)))
        for position, (ref, offer) in enumerate(offers):
            left = sifted.left.get(position)
            if left is None:
                batch.events.append((job_id_for(offer.number), OfferSeen(offer)))
            else:
                batch.skip(ref, offer.number, left)

    def rewind(self, cursor: CursorRow) -> None:
        """Read on behind this block."""
        self._source.rewind(Cursor(cursor.block_number, cursor.block_hash))

    async def _job_of(self, batch: FeedBatch, deal_id: DealId) -> JobId | None:
        return batch.hired.get(deal_id) or await self._own_deals.job_of(deal_id)

    def _moved_block(self, batch: FeedBatch, job_id: JobId, log: Payment | DealStateChange) -> bool:
        return is_hire(job_id) and self._orphaned(job_id) and log.deal_id not in batch.hired

    def _may_hire(self, batch: FeedBatch, job_id: JobId | None, log: Payment) -> bool:
        locked = (PaymentReason.PAYMENT_COLLATERAL, PaymentDirection.PAID_IN)
        if (log.reason, log.direction) != locked or log.payee == self._provider:
            return False
        return job_id is None or self._let_go(job_id) or self._moved_block(batch, job_id, log)

    async def _hire(
        self,
        batch: FeedBatch,
        log: Payment | DealStateChange,
        at: int,
        offers: Sequence[tuple[LogRef, Offer]],
    ) -> JobId | None:
        if self._hires is None:
            return None
        just_seen = {offer.number: offer for _, offer in offers}
        found = await self._hires.read(log, at, age_s=batch.head.timestamp - at, just_seen=just_seen)
        if isinstance(found, str):
            batch.skip(log.ref, None, Left(Refused.HIRE, found))
        if not isinstance(found, HireSeen):
            return None
        job_id = hire_id_for(found.offer.number)
        if job_id in batch.hired.values():
            second = f"another deal hires this node for job {found.offer.number} already"
            batch.skip(log.ref, None, Left(Refused.HIRE, second))
            return None
        batch.events.append((job_id, found))
        batch.hired[log.deal_id] = job_id
        return job_id

    async def _time(self, log: RawLog, times: dict[BlockNumber, int]) -> int:
        if log.block_number not in times:
            block = await self._headers.block(log.block_number)
            if block is None or block.hash != log.block_hash:
                raise Retryable(
                    f"block {log.block_number} is not there yet: the endpoint is behind its own logs"
                )
            times[log.block_number] = block.timestamp
        return times[log.block_number]

    def _offer(self, batch: FeedBatch, log: JobAdded, at: int) -> Offer | None:
        """Return the offer if it is worth a question, or note why it is not."""
        # An offer that a reorganisation moved to another block was let in before, and money may hang on it.
        again = self._orphaned(job_id_for(log.number))
        age = batch.head.timestamp - at
        if not again and age > self._policy.max_age_s:
            # Not even read: a node that was away a long time catches up over offers that are long gone.
            stale = f"posted {age} s ago, older than {self._policy.max_age_s} s"
            batch.skip(log.ref, log.number, Left(Refused.STALE, stale))
            return None
        try:
            spec = parse_inputs(log.module, log.inputs)
        except InvalidInputs as problem:
            batch.skip(log.ref, log.number, Left(Refused.INPUTS, str(problem)))
            return None
        if spec.module not in self._policy.modules:
            foreign = f"module {spec.module} is not offered by this node"
            batch.skip(log.ref, log.number, Left(Refused.MODULE, foreign))
            return None
        offer = Offer(
            number=log.number,
            requester=log.payee,
            calling_contract=log.calling_contract,
            tx_hash=log.ref.tx_hash,
            block_number=log.ref.block_number,
            posted_at=at,
            spec=spec,
        )
        if again:
            batch.events.append((job_id_for(log.number), OfferSeen(offer)))
            return None
        return offer

    def _payment(self, batch: FeedBatch, job_id: JobId, log: Payment, at: int) -> None:
        batch.payments.append(ledger_row(log, at))
        locked = (PaymentReason.TIMEOUT_COLLATERAL, PaymentDirection.PAID_IN)
        if (log.reason, log.direction) == locked and log.payee == self._provider:
            batch.events.append((job_id, ProposalMined(at, log.ref.block_number)))

    def _paid(self, logs: Sequence[RawLog], moved: DealStateChange) -> int:
        paid = 0
        for raw in logs:
            if raw.tx_hash != moved.ref.tx_hash:
                continue
            log = decode(raw)
            if (
                isinstance(log, Payment)
                and log.deal_id == moved.deal_id
                and log.payee == self._provider
                and (log.reason, log.direction) == (PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT)
            ):
                paid += log.amount_wei
        return paid


def ledger_row(log: Payment, at: int) -> LedgerRow:
    """Return a payment as the ledger keeps it; ``at`` is its block's time."""
    return LedgerRow(
        tx_hash=log.ref.tx_hash,
        log_index=log.ref.log_index,
        block_number=log.ref.block_number,
        deal_id=log.deal_id,
        payee=log.payee,
        amount_wei=log.amount_wei,
        reason=log.reason,
        direction=log.direction,
        at=at,
    )
