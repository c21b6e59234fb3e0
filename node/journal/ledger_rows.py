"""What the ledger is made of, as the journal gives it: plain records, no SQL and no sums."""

from dataclasses import asdict, dataclass

from node.journal.records import LedgerRow
from node.types import Address, JobId, TxHash, Wei


@dataclass(frozen=True, slots=True)
class Posting:
    """A ``Payment`` log with the job and the account it belongs to; None for a deal without a job."""

    row: LedgerRow
    job_id: JobId | None
    counterparty: Address | None


@dataclass(frozen=True, slots=True)
class GasRow:
    """What one transaction with an outcome cost. ``job_id`` None: it belongs to no job of ours.

    ``at`` is its block's time where a ``Payment`` log tells it, else when its outcome was confirmed here.
    """

    intent_id: str
    what: str
    job_id: JobId | None
    counterparty: Address | None
    tx_hash: TxHash
    block_number: int
    reverted: bool
    gas_used: int
    fee_wei: Wei
    at: float


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a ledger reaches: its newest block, and how many payments and settled transactions it has."""

    newest_block: int
    payments: int
    transactions: int


@dataclass(frozen=True, slots=True)
class PaymentRecord:
    """How an account has dealt with this node so far, in numbers of jobs.

    ``unpaid``: a result was delivered and the last claim failed too. ``unanswered``: delivered, never judged,
    and the deployment gives no remedy. ``drained``: took its escrow back while we worked. ``failed``: ended
    without a result through us. ``lapsed``: our proposal was not answered. ``rejected``: a mediator ruled
    against us. ``open``: not ended yet.
    """

    deals: int = 0
    paid: int = 0
    unpaid: int = 0
    unanswered: int = 0
    drained: int = 0
    rejected: int = 0
    failed: int = 0
    lapsed: int = 0
    open: int = 0

    def to_json(self) -> dict[str, int]:
        """Return the numbers for programs."""
        return asdict(self)

    @property
    def bad(self) -> int:
        """Return in how many deals the account did not pay for what it got."""
        return self.unpaid + self.unanswered + self.drained

    @property
    def unknown(self) -> bool:
        """True for an account that has never paid this node."""
        return self.paid == 0


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; an empty field does not narrow. ``since``: first seen at or after, wall clock."""

    phase: str | None = None
    requester: Address | None = None
    since: float | None = None
