"""What deals earned, cost and still hold: a fold over confirmed ``Payment`` logs and the gas of transactions.

Pure: rows in, sums out, nothing is kept. Each row of our account lands in exactly one place, so the sums
agree with the chain to the wei: what flowed into the wallet is ``net`` less what is still ``locked``. Amounts
are wei of the payment token; gas is wei of the gas token, and the two are never added up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from operator import add, attrgetter

from node.job.deal import PaymentDirection, PaymentReason
from node.journal.ledger_rows import GasRow, Posting
from node.journal.records import LedgerRow
from node.types import Address, DealId, JobId, TxHash, Wei


@dataclass(frozen=True, slots=True)
class Sums:
    """The money of one account over some rows.

    ``locked_*``: paid in and neither returned nor slashed within these rows. ``slashed_in`` is collateral of
    the other side that went to us. ``fees_*`` are mediation fees: paid by us, or received for a ruling.
    """

    earned_wei: Wei = Wei(0)
    locked_timeout_wei: Wei = Wei(0)
    locked_results_wei: Wei = Wei(0)
    locked_payment_wei: Wei = Wei(0)
    returned_wei: Wei = Wei(0)
    slashed_in_wei: Wei = Wei(0)
    slashed_out_wei: Wei = Wei(0)
    fees_in_wei: Wei = Wei(0)
    fees_out_wei: Wei = Wei(0)
    gas_wei: Wei = Wei(0)
    gas_reverted_wei: Wei = Wei(0)
    payments: int = 0
    transactions: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*map(add, _AMOUNTS(self), _AMOUNTS(other)))

    @property
    def locked_wei(self) -> Wei:
        """Return everything still locked."""
        return Wei(self.locked_timeout_wei + self.locked_results_wei + self.locked_payment_wei)

    @property
    def net_wei(self) -> Wei:
        """Return gain or loss in the payment token; what is locked is neither."""
        gained = self.earned_wei + self.slashed_in_wei + self.fees_in_wei
        return Wei(gained - self.slashed_out_wei - self.fees_out_wei)

    def to_json(self) -> dict[str, str | int]:
        """Return every sum for programs, amounts as decimal strings."""
        found: dict[str, str | int] = {}
        for entry in fields(Sums):
            value: int = getattr(self, entry.name)
            found[entry.name] = str(value) if entry.name.endswith("_wei") else value
        return found | {"locked_wei": str(self.locked_wei), "net_wei": str(self.net_wei)}


NOTHING = Sums()
_AMOUNTS = attrgetter(*(entry.name for entry in fields(Sums)))


def of_payment(row: LedgerRow) -> Sums:
    """Return the sums of one log of our own account."""
    amount = row.amount_wei
    match row.reason, row.direction:
        case PaymentReason.MEDIATION_FEE, PaymentDirection.PAID_OUT:
            return Sums(fees_in_wei=amount, payments=1)
        case PaymentReason.MEDIATION_FEE, PaymentDirection.PAID_IN:
            return Sums(fees_out_wei=amount, payments=1)
        case PaymentReason.MEDIATION_FEE, PaymentDirection.REFUNDED:
            return Sums(fees_out_wei=Wei(-amount), payments=1)
        case PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT:
            return Sums(earned_wei=amount, payments=1)
        case _, PaymentDirection.PAID_OUT:
            return Sums(slashed_in_wei=amount, payments=1)
        case PaymentReason.MEDIATION_FEE, PaymentDirection.SLASHED:
            # Paid in before, so it is counted as spent already.
            return Sums(payments=1)
        case _, PaymentDirection.PAID_IN:
            return _locked(row.reason, amount)
        case _, PaymentDirection.REFUNDED:
            return _locked(row.reason, Wei(-amount)) + Sums(returned_wei=amount)
        case _, _:
            return _locked(row.reason, Wei(-amount)) + Sums(slashed_out_wei=amount)


def of_gas(row: GasRow) -> Sums:
    """Return the sums of one transaction with an outcome; one that reverted was paid for as well."""
    reverted = Wei(row.fee_wei if row.reverted else 0)
    return Sums(gas_wei=row.fee_wei, gas_reverted_wei=reverted, transactions=1)


def _locked(reason: PaymentReason, amount: Wei) -> Sums:
    match reason:
        case PaymentReason.TIMEOUT_COLLATERAL:
            return Sums(locked_timeout_wei=amount, payments=1)
        case PaymentReason.RESULTS_COLLATERAL:
            return Sums(locked_results_wei=amount, payments=1)
        case _:
            return Sums(locked_payment_wei=amount, payments=1)


@dataclass(frozen=True, slots=True)
class Period:
    """From ``since`` up to but not including ``until``, block times in seconds; None is open."""

    since: float | None = None
    until: float | None = None

    def holds(self, at: float) -> bool:
        """Tell whether a moment lies in the period."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


@dataclass(slots=True)
class Ledger:
    """All sums of one account over a period; gas that belongs to no job stands in ``total`` alone."""

    total: Sums = Sums()
    by_job: dict[JobId, Sums] = field(default_factory=dict)
    by_counterparty: dict[Address, Sums] = field(default_factory=dict)


def fold(
    account: Address, postings: Iterable[Posting], gas: Iterable[GasRow], period: Period | None = None
) -> Ledger:
    """Return what these rows add up to for ``account``. Rows of other accounts are not its money."""
    period = period or Period()
    found: dict[tuple[JobId | None, Address | None], Sums] = {}
    for posting in postings:
        if posting.row.payee == account and period.holds(posting.row.at):
            key = (posting.job_id, posting.counterparty)
            found[key] = found.get(key, NOTHING) + of_payment(posting.row)
    for row in gas:
        if period.holds(row.at):
            key = (row.job_id, row.counterparty)
            found[key] = found.get(key, NOTHING) + of_gas(row)
    ledger = Ledger(total=sum(found.values(), NOTHING))
    for (job_id, counterparty), sums in found.items():
        if job_id is None:
            continue
        ledger.by_job[job_id] = ledger.by_job.get(job_id, NOTHING) + sums
        if counterparty is not None:
            ledger.by_counterparty[counterparty] = ledger.by_counterparty.get(counterparty, NOTHING) + sums
    return ledger


@dataclass(frozen=True, slots=True)
class Difference:
    """One ``Payment`` log on which ledger and chain disagree; None is a row that one side does not have."""

    tx_hash: TxHash
    log_index: int
    deal_id: DealId
    ledger: LedgerRow | None
    chain: LedgerRow | None

    def to_json(self) -> dict[str, object]:
        """Return the difference for programs."""
        return {
            "tx_hash": self.tx_hash,
            "log_index": self.log_index,
            "deal_id": self.deal_id,
            "ledger": _told(self.ledger),
            "chain": _told(self.chain),
        }

    def __str__(self) -> str:
        where = f"deal {self.deal_id}, transaction {self.tx_hash}, log {self.log_index}"
        if self.ledger is None:
            return f"{where}: the chain has {_said(self.chain)}, the ledger has nothing"
        if self.chain is None:
            return f"{where}: the ledger has {_said(self.ledger)}, the chain has nothing"
        return f"{where}: the ledger has {_said(self.ledger)}, the chain has {_said(self.chain)}"


def differences(ledger: Sequence[LedgerRow], chain: Sequence[LedgerRow]) -> tuple[Difference, ...]:
    """Return every row in which two readings of the same blocks are not equal, in the order of the chain."""
    ours = {(row.tx_hash, row.log_index): row for row in ledger}
    theirs = {(row.tx_hash, row.log_index): row for row in chain}
    found = [
        (one or other, one, other)
        for key in ours.keys() | theirs.keys()
        if (one := ours.get(key)) != (other := theirs.get(key))
    ]
    return tuple(
        Difference(row.tx_hash, row.log_index, row.deal_id, one, other)
        for row, one, other in sorted(
            ((row, one, other) for row, one, other in found if row is not None),
            key=lambda item: (item[0].block_number, item[0].log_index),
        )
    )


def _said(row: LedgerRow | None) -> str:
    if row is None:
        return "nothing"
    kind = f"{row.reason.name} {row.direction.name}".replace("_", " ").lower()
    return f"{row.amount_wei} wei ({kind}) of {row.payee} in block {row.block_number} at {row.at}"


def _told(row: LedgerRow | None) -> dict[str, object] | None:
    if row is None:
        return None
    return {
        "payee": row.payee,
        "amount_wei": str(row.amount_wei),
        "reason": row.reason.name,
        "direction": row.direction.name,
        "block_number": row.block_number,
        "at": row.at,
    }
