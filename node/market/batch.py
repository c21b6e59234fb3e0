"""What one range of blocks means for us, before it becomes durable."""

from dataclasses import dataclass, field

from node.chain.client import Block
from node.chain.events import LogRef
from node.chain.logs import LogBatch
from node.job.events import DealMoved, HireSeen, JobEvent, MediatorDrawn, OfferSeen, ProposalMined
from node.job.sifting import Left
from node.journal.records import CursorRow, LedgerRow, SkippedLog
from node.types import DealId, JobId

MAX_REASON = 300


@dataclass(slots=True)
class FeedBatch:
    """What one range of blocks means for us. ``rests_on``: the blocks that say so."""

    last: Block
    head: Block
    caught_up: bool = False
    events: list[tuple[JobId, JobEvent]] = field(default_factory=list)
    payments: list[LedgerRow] = field(default_factory=list)
    skipped: list[SkippedLog] = field(default_factory=list)
    hired: dict[DealId, JobId] = field(default_factory=dict)
    rests_on: tuple[CursorRow, ...] = ()

    @property
    def cursor(self) -> CursorRow:
        """Where the next range begins."""
        return CursorRow(self.last.number, self.last.hash, self.head.number)

    @property
    def chain_time(self) -> int:
        """By which block time deadlines are judged: the newest block's, once every confirmed log is read.

        The contracts judge a claim by the block that will hold it, so waiting for confirmations of the
        block that passed a deadline would only be late; while logs are still to be read, what they say
        goes first.
        """
        return self.head.timestamp if self.caught_up else self.last.timestamp

    @property
    def empty(self) -> bool:
        """True if only the cursor moved."""
        return not (self.events or self.payments or self.skipped)

    def skip(self, ref: LogRef, number: int | None, left: Left) -> None:
        """Note why a log is passed over; ``number`` is the posted job's, if there is one."""
        reason = left.reason[:MAX_REASON]
        self.skipped.append(
            SkippedLog(ref.block_number, ref.tx_hash, ref.log_index, number, reason, left.kind)
        )

    def rest_on_blocks_of(self, logs: LogBatch) -> None:
        """Note which blocks the events and payments were read in."""
        numbers = {payment.block_number for payment in self.payments}
        for _, event in self.events:
            match event:
                case OfferSeen(offer):
                    numbers.add(offer.block_number)
                case HireSeen() | DealMoved() | ProposalMined() | MediatorDrawn():
                    numbers.add(event.block_number)
                case _:
                    pass
        hashes = {log.block_number: log.block_hash for log in logs.logs if log.block_number in numbers}
        self.rests_on = tuple(
            CursorRow(number, hashes[number], logs.head.number) for number in sorted(hashes)
        )
