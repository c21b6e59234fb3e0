"""``addResult``: for a result (n = 1) and for an honest failure (n = 0: nothing is owed, nothing hangs)."""

from pathlib import Path
from typing import Protocol

from node.chain.client import Block, Call
from node.chain.txmanager import Failed, TxIntent, TxOutcome
from node.errors import Retryable
from node.job.deal import Agreement, AgreementState, Result
from node.job.effects import Effect
from node.job.events import JobEvent, SubmissionRefused
from node.job.job import Job
from node.types import Cid, DealId, JobId

MAX_FAILURE_TEXT = 2000


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


class Transactions(Protocol):
    """The chain's ``TxManager``."""

    async def send(self, intent: TxIntent) -> TxOutcome:
        """Return the confirmed outcome; the same intent id is never sent as two transactions."""
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
        self, results: Results, transactions: Transactions, heads: Heads, publisher: Publishes, jobs_dir: Path
    ) -> None:
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
        write_failure(directory, job.reason or "the job could not be completed")
        cid = await self._publisher.publish(job.job_id, directory)
        return await self._submit(job, effect, cid, 0)

    async def _submit(self, job: Job, effect: Effect, cid: Cid, instruction_count: int) -> JobEvent | None:
        deal_id = job.terms.deal_id
        call = self._results.add_result(deal_id, "", cid, instruction_count)
        outcome = await self._transactions.send(TxIntent(effect.effect_id, call))
        if not isinstance(outcome, Failed):
            return None
        agreement = await self._results.get_agreement(deal_id)
        if agreement.state == AgreementState.RESULTS_SUBMITTED:
            stored = await self._results.get_result(deal_id)
            if stored is not None and stored.data_id == cid:
                return None
        if agreement.state != AgreementState.DEAL_AGREED:
            return SubmissionRefused(f"the deal is {agreement.state.name}: {outcome.reason}")
        head = await self._heads.head()
        if job.deadline is not None and head.timestamp > job.deadline:
            return SubmissionRefused(f"the deadline for the result has passed: {outcome.reason}")
        if outcome.tx_hash is not None:
            return SubmissionRefused(f"the contract reverted the result: {outcome.reason}")
        raise Retryable(f"the contract does not take the result: {outcome.reason}")


def write_failure(directory: Path, reason: str) -> None:
    """Write the result directory of a failed job: what the requester will read. Same bytes each time."""
    (directory / "outputs").mkdir(parents=True, exist_ok=True)
    (directory / "stdout").write_bytes(b"")
    (directory / "stderr").write_text(reason[:MAX_FAILURE_TEXT] + "\n", encoding="utf-8")
    (directory / "exitCode").write_text("1", encoding="ascii")
