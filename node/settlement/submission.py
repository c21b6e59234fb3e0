"""``addResult``: for a result (n = 1) and for an honest failure (n = 0: nothing is owed, nothing hangs)."""

import asyncio
from pathlib import Path
from typing import Protocol

from node.chain.client import Block, Call
from node.chain.resending import Transactions, send_while_wanted
from node.chain.reverts import Meaning, meaning_of, told
from node.chain.rules import DeploymentRules
from node.chain.txmanager import Failed, TxIntent
from node.errors import NotYet, Retryable
from node.job.deal import Agreement, AgreementState, Result
from node.job.effects import Effect
from node.job.events import JobEvent, SubmissionRefused
from node.job.job import Job
from node.pipeline.results import write_durably
from node.types import Cid, DealId, JobId

MAX_FAILURE_TEXT = 2000
HOPELESS = frozenset({Meaning.WRONG_KEY, Meaning.WRONG_ENTRY, Meaning.MISWIRED, Meaning.OVERFLOW})
"""What asking again cannot change while the deal stands as it is."""
MAX_REVERTED_RESULTS = 3
"""How often a result may be mined and revert, each at the price of its gas, before it is given up."""


class Results(Protocol):
    """What a submission reads and calls; the chain's ``MarketContracts``."""

    async def get_agreement(self, deal_id: DealId, at: int | None = None) -> Agreement:
        """Return the state and its times."""
        ...

    async def get_result(self, deal_id: DealId, at: int | None = None) -> Result | None:
        """Return the stored result."""
        ...

    def add_result(self, deal_id: DealId, results_id: str, data_id: str, instruction_count: int) -> Call:
        """Return the call that submits a result."""
        ...


class Heads(Protocol):
    """The chain's clock."""

    async def head(self) -> Block:
        """Return the newest block."""
        ...


class Publishes(Protocol):
    """The publisher."""

    async def publish(self, job_id: JobId, directory: Path) -> Cid:
        """Store a directory and return its CID."""
        ...


class Submission:
    """Carries out SUBMIT_RESULT and SUBMIT_FAILURE."""

    def __init__(
        self,
        results: Results,
        transactions: Transactions,
        heads: Heads,
        publisher: Publishes,
        jobs_dir: Path,
        *,
        rules: DeploymentRules,
    ) -> None:
        self._rules = rules
        self._results = results
        self._transactions = transactions
        self._heads = heads
        self._publisher = publisher
        self._jobs_dir = jobs_dir

    async def submit_result(self, job: Job, effect: Effect) -> JobEvent | None:
        """Put the CID on chain. None: the confirmed log will tell."""
        if job.cid is None:
            raise ValueError(f"{job.job_id} has no CID to submit")
        return await self._submit(job, effect, job.cid, 1)

    async def submit_failure(self, job: Job, effect: Effect) -> JobEvent | None:
        """Say on chain that there will be no result, and where the reason can be read."""
        directory = self._jobs_dir / job.job_id / "failure"
        try:
            await asyncio.to_thread(write_failure, directory, job.reason or "the job could not be completed")
        except OSError as error:
            raise Retryable(f"{directory} cannot be written ({error.strerror}): free disk space") from error
        cid = await self._publisher.publish(job.job_id, directory)
        return await self._submit(job, effect, cid, 0)

    async def _submit(self, job: Job, effect: Effect, cid: Cid, instruction_count: int) -> JobEvent | None:
        deal_id = job.terms.deal_id
        intent = TxIntent(effect.effect_id, self._results.add_result(deal_id, "", cid, instruction_count))
        # A reorganisation can put the result before its own deal, where it reverts.
        most = MAX_REVERTED_RESULTS + job.rewinds

        async def still_due() -> bool:
            agreement = await self._results.get_agreement(deal_id)
            return agreement.state == AgreementState.DEAL_AGREED and not await self._too_late(job)

        sent = await send_while_wanted(self._transactions, intent, still_due, most=most)
        outcome = sent.outcome
        if not isinstance(outcome, Failed):
            return None
        agreement = await self._results.get_agreement(deal_id)
        if agreement.results_submitted_at > 0:
            # However far the deal has come since: what counts is whose result it went on with.
            stored = await self._results.get_result(deal_id)
            if stored is not None and stored.data_id == cid:
                return None
        if agreement.state == AgreementState.DEAL_NEGOTIATING:
            raise NotYet(f"{job.job_id}: the block in which the deal was agreed is gone for now")
        if agreement.state != AgreementState.DEAL_AGREED:
            return SubmissionRefused(f"the deal is {agreement.state.name}: {outcome.reason}")
        if await self._too_late(job):
            return SubmissionRefused(f"the deadline for the result has passed: {outcome.reason}")
        if meaning_of(outcome.reason) in HOPELESS:
            return SubmissionRefused(f"the contract will never take the result: {outcome.reason}")
        if sent.reverted and sent.number >= most:
            return SubmissionRefused(f"the contract reverted the result {most} times: {outcome.reason}")
        raise Retryable(f"the contract does not take the result: {told(outcome.reason)}")

    async def _too_late(self, job: Job) -> bool:
        head = await self._heads.head()
        late = job.deadline is not None and head.timestamp > job.deadline
        return late and self._rules.deadlines_bind


def write_failure(directory: Path, reason: str) -> None:
    """Write the result directory of a failed job: what the requester will read. Same bytes each time."""
    (directory / "outputs").mkdir(parents=True, exist_ok=True)
    write_durably(directory / "stdout", b"")
    write_durably(directory / "stderr", f"{reason[:MAX_FAILURE_TEXT]}\n".encode())
    write_durably(directory / "exitCode", b"1")
