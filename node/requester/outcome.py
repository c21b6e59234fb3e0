"""How a run ends: one state, what was paid, where the files are, and the exit code for scripts."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from node.errors import NodeError
from node.types import Cid, DealId, Wei


class RunState(StrEnum):
    """The end of a run. Only PAID is a success."""

    PAID = "paid"
    NO_PROPOSAL = "no_proposal"
    PROVIDER_FAILED = "provider_failed"
    PROVIDER_SILENT = "provider_silent"
    RESULT_REFUSED = "result_refused"
    NOT_DOWNLOADED = "not_downloaded"
    REJECTED = "rejected"
    """A mediator ruled against the provider: the payment came back."""
    DISPUTED = "disputed"
    """A mediator was asked for, as the user wanted; the run goes on with ``resume``."""
    ENDED = "ended"
    """The deal ended on chain in another way: withdrawn, judged by a mediator, or decided by a timeout."""


EXIT_CODES = {
    RunState.PAID: 0,
    RunState.NO_PROPOSAL: 75,
    RunState.PROVIDER_FAILED: 1,
    RunState.PROVIDER_SILENT: 1,
    RunState.RESULT_REFUSED: 1,
    RunState.NOT_DOWNLOADED: 3,
    RunState.REJECTED: 1,
    RunState.DISPUTED: 75,
    RunState.ENDED: 1,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a script wants to know of a run. ``reason`` and ``next_step`` are empty on success."""

    state: RunState
    run_id: str
    job_number: int
    deal_id: DealId | None = None
    cid: Cid | None = None
    directory: Path | None = None
    paid_wei: Wei = Wei(0)
    reason: str = ""
    next_step: str = ""

    @property
    def exit_code(self) -> int:
        """What the command line ends with."""
        return EXIT_CODES[self.state]

    def to_json(self) -> dict[str, Any]:
        """Return it for programs; money as a decimal string, because it exceeds a JavaScript number."""
        return {
            "state": self.state.value,
            "run_id": self.run_id,
            "job_id": f"j{self.job_number}",
            "deal_id": self.deal_id,
            "cid": self.cid,
            "dir": None if self.directory is None else str(self.directory),
            "paid_wei": str(self.paid_wei),
            "reason": self.reason,
            "next_step": self.next_step,
        }


class CannotPay(NodeError):
    """The wallet lacks gas or tokens for what is to be done next."""


class TransactionFailed(NodeError):
    """A transaction that the run depends on was refused or reverted."""
