"""A job's whole state: an immutable record that ``transition`` replaces."""

from dataclasses import dataclass, replace
from typing import Any

from node.job.deal import Deal
from node.job.events import Offer
from node.job.phase import Phase
from node.types import BlockNumber, Cid, JobId, Wei


@dataclass(frozen=True, slots=True)
class Job:
    """One offer and what became of it.

    ``deadline`` is the block time at which the present phase has waited long enough, None where nothing is
    awaited. ``draws`` counts the mediators drawn for it, the newest in block ``drawn_in``; ``salt`` counts
    the deals tried: it goes into a proposal's id, and tells apart the orders of one hire after another.
    ``rewinds`` counts the reorganisations that undid a step of it, ``chain_block`` is the newest block whose
    facts it rests on. ``failing``: an honest failure was decided. ``orphaned``: the block that held its offer
    is gone.
    """

    job_id: JobId
    offer: Offer
    phase: Phase
    deal: Deal | None = None
    deadline: int | None = None
    draws: int = 0
    drawn_in: BlockNumber = BlockNumber(0)
    outputs: tuple[str, ...] = ()
    determinism_class: str | None = None
    cid: Cid | None = None
    reason: str | None = None
    paid_wei: Wei = Wei(0)
    salt: int = 1
    chain_block: BlockNumber = BlockNumber(0)
    rewinds: int = 0
    failing: bool = False
    orphaned: bool = False

    def to(self, phase: Phase, **changes: Any) -> "Job":
        """Return the job in another phase; the deadline of the old phase does not carry over."""
        changes.setdefault("deadline", None)
        return replace(self, phase=phase, **changes)

    @property
    def hired(self) -> bool:
        """True if the requester agreed first, to our published terms."""
        return is_hire(self.job_id)

    @property
    def life(self) -> tuple[int, int, bool]:
        """Which life of the job this is: reorganisations, deals tried, and whether its offer is gone."""
        return self.rewinds, self.salt, self.orphaned

    @property
    def terms(self) -> Deal:
        """The deal of a job that has one."""
        if self.deal is None:
            raise ValueError(f"{self.job_id} has no deal in phase {self.phase}")
        return self.deal


HIRED = "h"


def is_hire(job_id: JobId) -> bool:
    """Whether this is the id of a direct hire."""
    return job_id.startswith(HIRED)


def hire_id_for(number: int) -> JobId:
    """Return our id of a direct hire for the job with this number; a proposal of ours has another."""
    return JobId(f"{HIRED}{number}")


def job_id_for(number: int) -> JobId:
    """Return our id of the job with this number at the job manager."""
    return JobId(f"j{number}")
