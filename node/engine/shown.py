"""The parts of a job as they are shown: progress, files, history and transactions as plain JSON values."""

import json
from pathlib import Path
from typing import Any

from node.job.copies import Copy, told
from node.job.deal import AgreementState
from node.job.events import Rendered
from node.job.progress import Progress
from node.job.transactions import TxRow
from node.journal.records import TimelineRow

STATES = {
    AgreementState.DEAL_NEGOTIATING: "not agreed yet",
    AgreementState.DEAL_AGREED: "both sides agreed",
    AgreementState.RESULTS_SUBMITTED: "the result is on chain",
    AgreementState.RESULTS_ACCEPTED: "the requester accepted the result",
    AgreementState.RESULTS_CHECKED: "the requester called a mediator",
    AgreementState.MEDIATION_ACCEPTED: "the mediator accepted the result",
    AgreementState.MEDIATION_REJECTED: "the mediator rejected the result",
    AgreementState.TIMEOUT_AGREE: "it was not agreed in time",
    AgreementState.TIMEOUT_SUBMIT_RESULTS: "no result came in time",
    AgreementState.TIMEOUT_JUDGE_RESULTS: "the requester did not judge the result in time",
    AgreementState.TIMEOUT_MEDIATE_RESULTS: "the mediator did not rule in time",
}
"""A deal's state as a step of its history."""
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp", ".mp4": "video/mp4", ".json": "application/json"}


def shown_progress(progress: Progress) -> dict[str, Any]:
    """Return how far a rendering is; ``fraction`` is of the whole job."""
    return {
        "stage": progress.stage,
        "step": progress.step,
        "steps": progress.steps,
        "fraction": progress.fraction,
    }


def shown_output(result: Path, path: str) -> dict[str, Any]:
    """Return one file of a result; ``bytes`` is None where it is not on this disk."""
    file = result / path
    size = file.stat().st_size if file.is_file() else None
    return {
        "path": path,
        "media_type": MEDIA_TYPES.get(file.suffix, "application/octet-stream"),
        "bytes": size,
    }


def shown_step(step: TimelineRow) -> dict[str, Any]:
    """Return one step of a job's history; block and transaction only where the step is a log of the chain."""
    body = json.loads(step.body)
    detail = body.get("reason") or body.get("cid") or _taken(body)
    if body.get("copies"):
        detail = f"{detail}, {told(Copy(**copy) for copy in body['copies'])}"
    if body.get("lacking"):
        detail = f"{detail}; only {body['lacking']}, as the deadline was near"
    if "state" in body:
        detail = STATES[AgreementState(body["state"])]
    return {
        "at": step.at,
        "event": step.event,
        "phase": step.phase,
        "detail": detail,
        "block_number": body.get("block_number"),
        "tx_hash": body.get("tx_hash"),
    }


def _taken(body: dict[str, Any]) -> str | None:
    if body.get("taken_s") is None:
        return None
    return f"took {body['taken_s']:.1f} s, {body['expected_s']:.1f} s were expected"


def shown_run_time(timeline: list[TimelineRow]) -> dict[str, float] | None:
    """Return how long the last rendering took and was expected to take, or None."""
    for step in reversed(timeline):
        body = json.loads(step.body) if step.event == Rendered.__name__ else {}
        if body.get("taken_s") is not None:
            return {"expected_s": body["expected_s"], "taken_s": body["taken_s"]}
    return None


def shown_transaction(row: TxRow) -> dict[str, Any]:
    """Return one transaction; ``tx_hash`` is that of the newest attempt until one is mined."""
    newest = row.attempts[-1].tx_hash if row.attempts else None
    return {
        "what": row.what,
        "status": row.status.value,
        "tx_hash": row.tx_hash or newest,
        "nonce": row.nonce,
        "block_number": row.block_number,
        "gas_used": row.gas_used,
        "fee_wei": str(row.fee_wei),
        "reason": row.reason,
    }
