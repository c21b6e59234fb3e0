"""Results of ours that are disputed: computed again, so that the operator knows what the ruling will be."""

import asyncio
import shutil

import structlog

from node.app.assembly import Assembly
from node.app.executing import SpareExecutions
from node.errors import NodeError, Retryable
from node.job.case import Decision
from node.job.job import Job
from node.job.phase import Phase
from node.mediation.judge import keep_evidence
from node.pipeline.results import RESULT
from node.types import JobId

FOLDER = "disputes"


class OwnDisputes:
    """Looks at each disputed job once, while no other job wants the workers; its reason tells the finding."""

    def __init__(self, node: Assembly, spare: SpareExecutions) -> None:
        self._node = node
        self._spare = spare
        self._folder = node.directory / FOLDER
        self._found: dict[JobId, str] = {}
        self._log = structlog.get_logger()

    async def run(self, every_s: float) -> None:
        """Look again and again."""
        await self._sweep({job.job_id for job in self._disputed()})
        while True:
            disputed = self._disputed()
            for job in disputed:
                await self._look(job)
            ids = {job.job_id for job in disputed}
            if self._found.keys() - ids:
                self._found = {job_id: told for job_id, told in self._found.items() if job_id in ids}
                await self._sweep(ids)
            await self._node.clock.sleep(every_s)

    async def _look(self, job: Job) -> None:
        if job.job_id not in self._found:
            obstacle = self._spare.obstacle() or ("other jobs come first" if self._spare.busy() else None)
            if obstacle is not None:
                self._tell(job, f"it is computed again here when that is possible: {obstacle}")
                return
            self._tell(job, "it is being computed again here")
            try:
                self._found[job.job_id] = await self._examined(job)
            except Retryable as error:
                self._tell(job, f"it could not be computed again yet: {error}")
                return
            except NodeError as error:
                self._found[job.job_id] = f"it could not be computed again: {error}"
        self._tell(job, self._found[job.job_id])

    async def _examined(self, job: Job) -> str:
        if job.cid is None:
            return "it is a failure that was reported as one, for which nothing is owed"
        folder = self._folder / job.job_id
        directory = self._node.jobs_dir / job.job_id / RESULT
        try:
            opinion = await self._spare.examiner.examine(
                job.terms.deal_id, job.offer.spec, job.cid, directory, folder
            )
            await asyncio.to_thread(keep_evidence, folder, opinion)
        except OSError as error:
            return f"its files cannot be read to compare them: {error}"
        self._log.info("own_result_examined", job_id=job.job_id, decision=opinion.decision)
        match opinion.decision:
            case Decision.ACCEPT:
                return "computed again here it gives the same bytes: expect the ruling to be for you"
            case Decision.REJECT:
                return f"expect the ruling to be against you: {opinion.reason}"
            case _:
                return f"there is no telling what the ruling will be: {opinion.reason}"

    def _tell(self, job: Job, found: str) -> None:
        self._node.snapshot.job_waits(job.job_id, f"the result is disputed and a mediator rules; {found}")

    def _disputed(self) -> list[Job]:
        return [job for job in self._node.book.open_jobs() if job.phase is Phase.DISPUTED]

    async def _sweep(self, disputed: set[JobId]) -> None:
        """Remove what was computed for disputes that are over."""

        def sweep() -> None:
            for folder in self._folder.iterdir() if self._folder.is_dir() else ():
                if folder.name not in disputed:
                    shutil.rmtree(folder, ignore_errors=True)

        await asyncio.to_thread(sweep)
