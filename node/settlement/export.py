"""Rows of the journal for spreadsheets and bookkeeping: jobs, payments or gas, exact to the wei. Pure.

Text that other people chose can begin with a character that spreadsheets run as a formula; such cells get an
apostrophe in front (OWASP, CSV injection).
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from node.job.amounts import tokens
from node.job.job import Job
from node.journal.ledger_rows import GasRow, Posting
from node.journal.records import JobRow
from node.settlement.ledger import Sums
from node.types import JobId

Row = dict[str, str]
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")

MONEY = {
    "earned": "earned_wei",
    "slashed_in": "slashed_in_wei",
    "slashed_out": "slashed_out_wei",
    "fees_out": "fees_out_wei",
    "locked": "locked_wei",
    "net": "net_wei",
    "gas": "gas_wei",
}


def payment_rows(postings: Iterable[Posting]) -> list[Row]:
    """Return one row per ``Payment`` log."""
    return [
        {
            "time_utc": _moment(posting.row.at),
            "block_number": str(posting.row.block_number),
            "tx_hash": posting.row.tx_hash,
            "log_index": str(posting.row.log_index),
            "job_id": posting.job_id or "",
            "deal_id": guarded(posting.row.deal_id),
            "counterparty": posting.counterparty or "",
            "reason": posting.row.reason.name.lower(),
            "direction": posting.row.direction.name.lower(),
            "amount": tokens(posting.row.amount_wei),
            "amount_wei": str(posting.row.amount_wei),
        }
        for posting in postings
    ]


def gas_rows(gas: Iterable[GasRow]) -> list[Row]:
    """Return one row per transaction with an outcome; amounts are of the gas token."""
    return [
        {
            "time_utc": _moment(row.at),
            "block_number": str(row.block_number),
            "tx_hash": row.tx_hash,
            "job_id": row.job_id or "",
            "counterparty": row.counterparty or "",
            "what": guarded(row.what),
            "status": "reverted" if row.reverted else "mined",
            "gas_used": str(row.gas_used),
            "fee": tokens(row.fee_wei),
            "fee_wei": str(row.fee_wei),
        }
        for row in gas
    ]


def job_rows(jobs: Iterable[JobRow], sums: Mapping[JobId, Sums]) -> list[Row]:
    """Return one row per job, with what it earned, cost and still holds."""
    return [_job(row, sums.get(row.job.job_id, Sums())) for row in jobs]


def _job(row: JobRow, sums: Sums) -> Row:
    job: Job = row.job
    price = job.deal.pricing.instruction_price_wei if job.deal else None
    money = {name: getattr(sums, attribute) for name, attribute in MONEY.items()}
    return {
        "job_id": job.job_id,
        "deal_id": guarded(job.deal.deal_id if job.deal else ""),
        "phase": job.phase.value,
        "requester": job.offer.requester,
        "module": guarded(job.offer.spec.module),
        "prompt": guarded(job.offer.spec.prompt),
        "seen_utc": _moment(row.seen_at),
        "updated_utc": _moment(row.updated_at),
        "price": "" if price is None else tokens(price),
        "price_wei": "" if price is None else str(price),
        **{name: tokens(amount) for name, amount in money.items()},
        **{f"{name}_wei": str(amount) for name, amount in money.items()},
        "cid": job.cid or "",
        "reason": guarded(job.reason or ""),
    }


def guarded(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def to_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV (RFC 4180) under a line of names; nothing for no rows."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _moment(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
