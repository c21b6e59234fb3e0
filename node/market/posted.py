"""Jobs that this node saw being posted, found again by their number: in the journal, or in their own log.

A job can have been passed over when it was posted, for its age or because its requester's money was in escrow
already. A requester that hires this node for it asks for another look.
"""

from typing import Protocol

from node.chain.client import Block, RawLog
from node.chain.events import JOB_ADDED, JobAdded, decode
from node.errors import Retryable
from node.job.events import Offer
from node.job.job import hire_id_for, job_id_for
from node.job.spec import InvalidInputs, parse_inputs
from node.journal.records import JobRow, SkippedLog
from node.types import Address, DealId, JobId


class Jobs(Protocol):
    """The journal, by job number."""

    async def job(self, job_id: JobId) -> JobRow | None:
        """Return one job, open or ended."""
        ...

    async def skipped_job(self, number: int) -> SkippedLog | None:
        """Return the log of a posted job that was passed over."""
        ...


class Logs(Protocol):
    """The chain's ``Chain``."""

    async def logs(self, first: int, last: int, addresses: list[Address], topics: list[str]) -> list[RawLog]:
        """Return the logs of some blocks."""
        ...

    async def block(self, number: int) -> Block | None:
        """Return a block's header."""
        ...


class PostedJobs:
    """Finds the offer behind a job's number."""

    def __init__(self, jobs: Jobs, chain: Logs, *, job_manager: Address, modules: frozenset[str]) -> None:
        self._jobs = jobs
        self._chain = chain
        self._job_manager = job_manager
        self._modules = modules

    async def hired_in(self, number: int) -> DealId | None:
        """Return the deal by which this node was hired for a job before, None if it was not."""
        row = await self._jobs.job(hire_id_for(number))
        return row.job.deal.deal_id if row and row.job.deal else None

    async def offer(self, number: int) -> Offer | str:
        """Return the offer, or why there is none. Raises Retryable while the endpoint is behind."""
        row = await self._jobs.job(job_id_for(number))
        if row is not None:
            return row.job.offer
        skipped = await self._jobs.skipped_job(number)
        if skipped is None:
            return "was never seen here"
        return await self._read(skipped, number)

    async def _read(self, skipped: SkippedLog, number: int) -> Offer | str:
        block = await self._chain.block(skipped.block_number)
        logs = await self._chain.logs(
            skipped.block_number, skipped.block_number, [self._job_manager], [JOB_ADDED]
        )
        if block is None:
            raise Retryable(f"block {skipped.block_number} is not there: the endpoint is behind")
        for log in logs:
            event = decode(log)
            if not isinstance(event, JobAdded) or event.number != number:
                continue
            try:
                spec = parse_inputs(event.module, event.inputs)
            except InvalidInputs as problem:
                return f"cannot be computed: {problem}"
            if spec.module not in self._modules:
                return f"is of the module {spec.module}, which this node does not offer"
            return Offer(
                number=number,
                requester=event.payee,
                calling_contract=event.calling_contract,
                tx_hash=event.ref.tx_hash,
                block_number=event.ref.block_number,
                posted_at=block.timestamp,
                spec=spec,
            )
        return f"was not taken up: {skipped.reason}"
