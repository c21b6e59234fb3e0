"""One job, one agreed deal: what a proposal and a direct hire for the same job mean for each other.

A requester can hire this node for a job that it is just proposing to do. On the published terms both are the
same deal, and whoever agrees second completes it; only other mediators or another salt give two deals, of
which one is carried out.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from node.errors import JobFailed
from node.job.effects import Effect
from node.job.events import Admitted, Declined, HireSeen, JobEvent, ProposalRefused
from node.job.job import Job, hire_id_for, job_id_for
from node.job.phase import LET_GO, NEGOTIATING, Phase
from node.job.transactions import TxRow
from node.journal.records import JobRow
from node.types import DealId, JobId

Handler = Callable[[Job, Effect], Awaitable[JobEvent | None]]

NOT_AGREED = LET_GO | NEGOTIATING


class Jobs(Protocol):
    """Jobs by id; the journal."""

    async def job(self, job_id: JobId) -> JobRow | None:
        """Return one job, open or ended."""
        ...


class Intents(Protocol):
    """The journal of transactions."""

    async def row(self, intent_id: str) -> TxRow | None:
        """Return what is known of an intent, None if it never took a nonce."""
        ...


class Rivals:
    """Looks at the other way by which this node may have come to the same job."""

    def __init__(self, recent: Callable[[JobId], Job | None], jobs: Jobs, intents: Intents) -> None:
        self._recent = recent
        self._jobs = jobs
        self._intents = intents

    async def of(self, job: Job) -> Job | None:
        """Return the hire beside a proposal or the proposal beside a hire, whatever became of it."""
        number = job.offer.number
        other_id = job_id_for(number) if job.hired else hire_id_for(number)
        other = self._recent(other_id)
        if other is not None:
            return other
        row = await self._jobs.job(other_id)
        return row.job if row else None

    async def objection(self, job: Job) -> str | None:
        """Return why a job must not be agreed to beside what stands already, or None."""
        other = await self.of(job)
        if other is None:
            return None
        if not job.hired and other.phase not in LET_GO:
            return f"the requester hired this node directly: the job is carried out as {other.job_id}"
        if job.hired and other.phase not in NOT_AGREED:
            return f"the job is agreed already as {other.job_id}, and one job is done once"
        return None

    def proposing(self, propose: Handler) -> Handler:
        """Return PROPOSE that gives way to a hire which arrived since the offer was admitted."""

        async def carry_out(job: Job, effect: Effect) -> JobEvent | None:
            # Once signed, a proposal may be mined whatever is decided now.
            if await self._intents.row(effect.effect_id) is None:
                reason = await self.objection(job)
                if reason is not None:
                    return ProposalRefused(reason)
            return await propose(job, effect)

        return carry_out

    def rendering(self, render: Handler) -> Handler:
        """Return RENDER that fails the second of two agreed deals for one job honestly."""

        async def carry_out(job: Job, effect: Effect) -> JobEvent | None:
            other = await self.of(job)
            if other is not None and _goes_first(other, job):
                raise JobFailed(
                    f"the requester agreed to two deals for one job: {other.job_id} is carried out"
                )
            return await render(job, effect)

        return carry_out


def _goes_first(other: Job, job: Job) -> bool:
    if other.phase in NOT_AGREED or other.failing:
        return False
    if job.phase is not Phase.AGREED:
        return False  # what was begun is gone on with
    if other.phase is not Phase.AGREED:
        return True
    # Both wait: whichever was agreed first, and of two in one block the hire, whenever this is asked.
    return (other.chain_block, not other.hired) < (job.chain_block, not job.hired)


def undisputed(job_id: JobId, event: JobEvent, holder: Callable[[DealId], JobId | None]) -> JobEvent | None:
    """Return the event, or what it comes to when its deal belongs to another job of ours already.

    A proposal on published terms and a hire are the same deal: the job that had it first keeps it.
    """
    if not isinstance(event, (Admitted, HireSeen)):
        return event
    held_by = holder(event.deal.deal_id)
    if held_by is None or held_by == job_id:
        return event
    if isinstance(event, HireSeen):
        return None
    return Declined(f"the requester hired this node directly: the job is carried out as {held_by}", "rival")
