"""A job's whole state: an immutable record that ``transition`` replaces."""

from dataclasses import dataclass, replace
from typing import Any

from node.job.deal import Deal
from node.job.events import Offer
from node.job.phase import Phase
from node.types import Cid, JobId, Wei


@dataclass(frozen=True, slots=True)
class Job:
    """One offer and what became of it.

    ``deadline`` is the block time at which the present phase has waited long enough, None where nothing is
    awaited. ``draws`` counts the mediators drawn for it.
    """

    job_id: JobId
    offer: Offer
    phase: Phase
    deal: Deal | None = None
    deadline: int | None = None
    draws: int = 0
    outputs: tuple[str, ...] = ()
    determinism_class: str | None = None
    cid: Cid | None = None
    reason: str | None = None
    paid_wei: Wei = Wei(0)

    def to(self, phase: Phase, **changes: Any) -> "Job":
        """Return the job in another phase; the deadline of the old phase does not carry over."""
        changes.setdefault("deadline", None)
        return replace(self, phase=phase, **changes)

    @property
    def terms(self) -> Deal:
        """The deal of a job that has one."""
        if self.deal is None:
            raise ValueError(f"{self.job_id} has no deal in phase {self.phase}")
        return self.deal


def job_id_for(number: int) -> JobId:
    """Return our id of the job with this number at the job manager."""
    return JobId(f"j{number}")
