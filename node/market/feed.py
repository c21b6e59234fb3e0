"""From confirmed logs to events: which offers are ours to look at, and what happened to our deals.

Hostile or foreign logs never stop the feed; each becomes a reason in ``skipped`` and the cursor moves on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
from node.chain.logs import LogBatch
from node.errors import Retryable
from node.job.deal import PaymentDirection, PaymentReason
from node.job.events import (
    DealMoved,
    JobEvent,
    MediatorDrawn,
    Offer,
    OfferSeen,
    ProposalMined,
)
from node.job.job import job_id_for
from node.job.spec import InvalidInputs, parse_inputs
from node.journal.records import CursorRow, LedgerRow, SkippedLog
from node.types import Address, BlockNumber, DealId, JobId

MAX_REASON = 300


class LogSource(Protocol):
    """Confirmed logs in order; the chain's ``ConfirmedLogs``."""

    async def next(self) -> LogBatch | None:
        """Return the next range, or None when nothing new is confirmed."""
        ...


class Headers(Protocol):
    """Block headers by number; the chain's ``Chain``."""

    async def block(self, number: int) -> Block | None:
        """Return the block, or None if the endpoint does not have it."""
        ...


@dataclass(frozen=True, slots=True)
class OfferPolicy:
    """What makes an offer worth a job at first sight."""

    modules: frozenset[str]
    max_age_s: int


@dataclass(slots=True)
class FeedBatch:
    """What one range of blocks means for us."""

    last: Block
    head: Block
    events: list[tuple[JobId, JobEvent]] = field(default_factory=list)
    payments: list[LedgerRow] = field(default_factory=list)
    skipped: list[SkippedLog] = field(default_factory=list)

    @property
    def cursor(self) -> CursorRow:
        """Where the next range begins."""
        return CursorRow(self.last.number, self.last.hash)

    @property
    def empty(self) -> bool:
        """True if only the cursor moved."""
        return not (self.events or self.payments or self.skipped)


class MarketFeed:
    """Turns log batches into feed batches. ``known_deal`` tells which deals are ours."""

    def __init__(
        self,
        source: LogSource,
        headers: Headers,
        *,
        provider: Address,
        policy: OfferPolicy,
        known_deal: Callable[[DealId], JobId | None],
    ) -> None:
        self._source = source
        self._headers = headers
        self._provider = provider
        self._policy = policy
        self._known_deal = known_deal

    async def next(self) -> FeedBatch | None:
        """Return the next batch, or None when nothing new is confirmed.

        Raises Unreachable while the endpoint does not answer.
        """
        logs = await self._source.next()
        if logs is None:
            return None
        batch = FeedBatch(last=logs.last, head=logs.head)
        stale = logs.last.timestamp < logs.head.timestamp - self._policy.max_age_s
        times: dict[BlockNumber, int] = {logs.last.number: logs.last.timestamp}
        for raw in logs.logs:
            log = decode(raw)
            match log:
                case JobAdded():
                    at = logs.last.timestamp if stale else await self._time(raw, times)
                    self._offer(batch, log, at)
                case DealStateChange():
                    job_id = self._known_deal(log.deal_id)
                    if job_id is not None:
                        at = await self._time(raw, times)
                        paid = self._paid(logs.logs, log)
                        moved = DealMoved(log.state, at, log.ref.tx_hash, paid)
                        batch.events.append((job_id, moved))
                case Payment():
                    job_id = self._known_deal(log.deal_id)
                    if job_id is not None:
                        self._payment(batch, job_id, log, await self._time(raw, times))
                case MediationRequested():
                    job_id = self._known_deal(log.deal_id)
                    if job_id is not None:
                        at = await self._time(raw, times)
                        batch.events.append((job_id, MediatorDrawn(log.mediator, at)))
                case Undecodable() if log.event == "JobAdded":
                    _skip(batch, log.ref, log.number, f"not readable: {log.problem}")
                case _:
                    pass
        return batch

    async def _time(self, log: RawLog, times: dict[BlockNumber, int]) -> int:
        if log.block_number not in times:
            block = await self._headers.block(log.block_number)
            if block is None or block.hash != log.block_hash:
                raise Retryable(
                    f"block {log.block_number} is not there yet: the endpoint is behind its own logs"
                )
            times[log.block_number] = block.timestamp
        return times[log.block_number]

    def _offer(self, batch: FeedBatch, log: JobAdded, at: int) -> None:
        age = batch.head.timestamp - at
        if age > self._policy.max_age_s:
            # Not even read: a node that was away a long time catches up over offers that are long gone.
            _skip(batch, log.ref, log.number, f"posted {age} s ago, older than {self._policy.max_age_s} s")
            return
        try:
            spec = parse_inputs(log.module, log.inputs)
        except InvalidInputs as problem:
            _skip(batch, log.ref, log.number, str(problem))
            return
        if spec.module not in self._policy.modules:
            _skip(batch, log.ref, log.number, f"module {spec.module} is not offered by this node")
            return
        offer = Offer(
            number=log.number,
            requester=log.payee,
            calling_contract=log.calling_contract,
            tx_hash=log.ref.tx_hash,
            block_number=log.ref.block_number,
            posted_at=at,
            spec=spec,
        )
        batch.events.append((job_id_for(log.number), OfferSeen(offer)))

    def _payment(self, batch: FeedBatch, job_id: JobId, log: Payment, at: int) -> None:
        batch.payments.append(
            LedgerRow(
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
        )
        locked = (PaymentReason.TIMEOUT_COLLATERAL, PaymentDirection.PAID_IN)
        if (log.reason, log.direction) == locked and log.payee == self._provider:
            batch.events.append((job_id, ProposalMined(at)))

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


def _skip(batch: FeedBatch, ref: LogRef, number: int | None, reason: str) -> None:
    batch.skipped.append(
        SkippedLog(ref.block_number, ref.tx_hash, ref.log_index, number, reason[:MAX_REASON])
    )
