"""What became of the offers this node saw since it started, and by which rule it declined them."""

from collections import Counter
from typing import Any

from node.job.deal import AgreementState
from node.job.events import Admitted, DealMoved, Declined, HireSeen, JobEvent, OfferSeen
from node.job.job import Job
from node.journal.records import SkippedLog

UNNAMED = "other"


class OfferTally:
    """Hears of every step of a job and of every offer that never became one."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._seen = 0
        self._proposed = 0
        self._agreed = 0
        self._declined: Counter[str] = Counter()

    def job_changed(self, job: Job, event: JobEvent) -> None:
        """Count what an event says of a job's offer; ``job`` is as the event left it."""
        match event:
            case OfferSeen() | HireSeen():
                self._seen += 1
            # A hire was proposed by its requester; another salt proposes the same job again.
            case Admitted() if not job.hired and job.salt == 1:
                self._proposed += 1
            case DealMoved(state=AgreementState.DEAL_AGREED):
                self._agreed += 1
            case Declined():
                self._declined[event.rule or UNNAMED] += 1
            case _:
                pass

    def skipped(self, log: SkippedLog) -> None:
        """Count an offer that was left alone before it became a job."""
        if log.kind is not None:
            self._seen += 1
            self._declined[log.kind] += 1

    def to_json(self) -> dict[str, Any]:
        """Return the counts; ``declined`` is by rule, the most frequent first."""
        return {
            "since": self._since,
            "seen": self._seen,
            "proposed": self._proposed,
            "agreed": self._agreed,
            "declined": dict(self._declined.most_common()),
        }
