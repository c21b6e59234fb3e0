"""What a commit holds and what the journal gives back: plain records, no SQL."""

from dataclasses import dataclass, field

from node.job.deal import PaymentDirection, PaymentReason
from node.job.effects import Effect
from node.job.events import JobEvent
from node.job.job import Job
from node.job.sifting import Refused
from node.types import Address, BlockHash, BlockNumber, DealId, JobId, TxHash, Wei


@dataclass(frozen=True, slots=True)
class Entry:
    """One event with the job it left behind and the effects it ordered."""

    job: Job
    event: JobEvent
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class SkippedLog:
    """A log that is not worth a job, and why. ``kind`` is how it is counted, and is not kept."""

    block_number: BlockNumber
    tx_hash: TxHash
    log_index: int
    job_number: int | None
    reason: str
    kind: Refused | None = None


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One confirmed ``Payment`` log of a deal of ours."""

    tx_hash: TxHash
    log_index: int
    block_number: BlockNumber
    deal_id: DealId
    payee: Address
    amount_wei: Wei
    reason: PaymentReason
    direction: PaymentDirection
    at: int


@dataclass(frozen=True, slots=True)
class CursorRow:
    """Up to and including which confirmed block a reader has journaled its logs.

    ``head_number`` is the newest block there was at that moment: how deep this one lay.
    """

    block_number: BlockNumber
    block_hash: BlockHash
    head_number: int = 0


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that becomes durable together.

    ``rests_on`` are the blocks that the entries and payments were read in. ``rewind`` is the block a
    reorganisation left standing: ledger rows, skipped logs and checkpoints above it go, and transactions that
    were settled above it are open again.
    """

    entries: tuple[Entry, ...] = ()
    done: tuple[str, ...] = ()
    cursor: CursorRow | None = None
    rests_on: tuple[CursorRow, ...] = ()
    payments: tuple[LedgerRow, ...] = ()
    skipped: tuple[SkippedLog, ...] = ()
    rewind: CursorRow | None = None


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One step of a job's history, for people."""

    at: float
    event: str
    phase: str
    body: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job with when it was first seen and last changed (wall clock)."""

    job: Job
    seen_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a start finds: open jobs, the ids of all our deals, and orders not yet carried out."""

    jobs: tuple[JobRow, ...]
    deals: dict[DealId, JobId]
    effects: tuple[Effect, ...]
    cursor: CursorRow | None
