"""A second look at the chain: does each open deal stand where the logs say that it stands?

Logs are hints that an endpoint may have withheld. Where the contract's own state is ahead of a job, the logs
from that job's last block on are read again; nothing is decided from the state alone.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from node.errors import Retryable
from node.job.deal import Agreement, AgreementState
from node.job.job import Job
from node.job.phase import Phase
from node.job.transition import states_behind
from node.journal.records import CursorRow
from node.types import DealId


class Agreements(Protocol):
    """The state of deals; the chain's ``MarketContracts``."""

    async def get_agreement(self, deal_id: DealId, at: int | None = None) -> Agreement:
        """Return the state and its times as of block ``at``."""
        ...


def is_behind(job: Job, agreement: Agreement) -> bool:
    """Whether the deal has moved on in blocks that were read without the job hearing of it."""
    if agreement.state is AgreementState.DEAL_NEGOTIATING:
        waits_for_its_proposal = job.phase is Phase.PROPOSING
        return waits_for_its_proposal and agreement.resource_provider_agreed_at > 0
    known = states_behind(job)
    return known is not None and agreement.state not in known


class Reconciler:
    """Compares open jobs with their deals at the block up to which logs were read."""

    def __init__(
        self,
        *,
        agreements: Agreements,
        open_jobs: Callable[[], list[Job]],
        checkpoints: Callable[[], Awaitable[list[CursorRow]]],
    ) -> None:
        self._agreements = agreements
        self._open_jobs = open_jobs
        self._checkpoints = checkpoints
        self._log = structlog.get_logger()

    async def reread_from(self, read_up_to: int) -> CursorRow | None:
        """Return the block behind which logs have to be read again, or None if every job is up to date.

        Raises Retryable while the endpoint does not answer.
        """
        behind = [job for job in self._open_jobs() if job.deal and await self._is_behind(job, read_up_to)]
        if not behind:
            return None
        oldest = min(job.chain_block for job in behind)
        points = [point for point in await self._checkpoints() if point.block_number < oldest]
        self._log.warning("logs_were_missing", jobs=[job.job_id for job in behind], since=oldest)
        if not points:
            raise Retryable(f"no block before {oldest} is remembered from which logs could be read again")
        return points[0]

    async def _is_behind(self, job: Job, read_up_to: int) -> bool:
        agreement = await self._agreements.get_agreement(job.terms.deal_id, at=read_up_to)
        return is_behind(job, agreement)
