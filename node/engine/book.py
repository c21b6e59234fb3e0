"""The open jobs in memory, which deals are ours, and what both add up to."""

from collections import Counter

from node.job.job import Job
from node.job.phase import NEGOTIATING, WORKING, Phase
from node.journal.records import JobRow
from node.types import Address, DealId, JobId, Wei

RECENT = 500
UNANSWERED = NEGOTIATING - {Phase.SEEN}


class Book:
    """What the engine knows without asking the journal. Only the engine changes it.

    Ended jobs stay for a while (``RECENT`` of them) so that the dashboard needs no disk.
    """

    def __init__(self) -> None:
        self._open: dict[JobId, JobRow] = {}
        self._ended: dict[JobId, JobRow] = {}
        self._deals: dict[DealId, JobId] = {}
        self._promised: dict[JobId, Job] = {}
        self._counts: Counter[str] = Counter()
        self.highest_number = 0

    def restore(
        self,
        open_rows: tuple[JobRow, ...],
        ended: list[JobRow],
        deals: dict[DealId, JobId],
        counts: dict[str, int],
    ) -> None:
        """Take over what the journal found."""
        self._open = {row.job.job_id: row for row in open_rows}
        self._ended = {row.job.job_id: row for row in reversed(ended) if row.job.phase.terminal}
        self._deals = dict(deals)
        self._counts = Counter(counts)
        numbers = [row.job.offer.number for row in (*open_rows, *ended)]
        self.highest_number = max(numbers, default=0)

    def get(self, job_id: JobId) -> Job | None:
        """Return an open or recently ended job."""
        row = self._open.get(job_id) or self._ended.get(job_id)
        return row.job if row else None

    def orphaned(self, job_id: JobId) -> bool:
        """Whether a job waits for its offer to appear again, after a reorganisation dropped its block."""
        job = self.get(job_id)
        return job is not None and job.orphaned

    def row(self, job_id: JobId) -> JobRow | None:
        """Return an open or recently ended job with its times."""
        return self._open.get(job_id) or self._ended.get(job_id)

    def put(self, job: Job, now: float) -> None:
        """Remember a job that changed."""
        self._promised.pop(job.job_id, None)
        before = self.row(job.job_id)
        if before is not None:
            self._counts[before.job.phase] -= 1
        self._counts[job.phase] += 1
        self.highest_number = max(self.highest_number, job.offer.number)
        row = JobRow(job, before.seen_at if before else now, now)
        if before is not None and before.job.deal != job.deal:
            self._forget_deal(before.job)
        if job.deal is not None:
            self._deals[job.deal.deal_id] = job.job_id
        if job.phase.terminal:
            self._open.pop(job.job_id, None)
            self._ended[job.job_id] = row
            while len(self._ended) > RECENT:
                del self._ended[next(iter(self._ended))]
        else:
            self._ended.pop(job.job_id, None)
            self._open[job.job_id] = row

    def _forget_deal(self, job: Job) -> None:
        # Somebody else may have taken the id: what happens to that deal is nothing of this job any more.
        if job.deal is not None and self._deals.get(job.deal.deal_id) == job.job_id:
            del self._deals[job.deal.deal_id]

    def promise(self, job: Job) -> None:
        """Count an open job as if it stood here already, until it is put.

        What was just decided must weigh on the next decision, although it is not journaled yet.
        """
        if job.job_id in self._open:
            self._promised[job.job_id] = job

    def open_jobs(self) -> list[Job]:
        """Return the jobs that are not terminal, promises included."""
        return [self._promised.get(job_id, row.job) for job_id, row in self._open.items()]

    def waiting(self) -> dict[JobId, Address]:
        """Return the offers without a verdict and who posted them, oldest first."""
        return {
            job.job_id: job.offer.requester
            for job in self.open_jobs()
            if job.phase is Phase.SEEN and job.deal is None
        }

    def recent(self) -> list[JobRow]:
        """Return open and recently ended jobs, newest first."""
        rows = [*self._open.values(), *self._ended.values()]
        return sorted(rows, key=lambda row: row.job.offer.number, reverse=True)

    def known_deal(self, deal_id: DealId) -> JobId | None:
        """Return our job of this deal, None for a deal that is not ours."""
        return self._deals.get(deal_id)

    def let_go(self, job_id: JobId) -> bool:
        """Whether a proposal was refused before anything was locked: its deal may come back as a hire."""
        job = self.get(job_id)
        return job is not None and job.phase is Phase.REFUSED and not job.hired

    def holder(self, deal_id: DealId) -> JobId | None:
        """Return the job that a deal belongs to, None if it is free for another one."""
        job_id = self.known_deal(deal_id)
        return None if job_id is None or self.let_go(job_id) else job_id

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each phase, ended ones included."""
        return {phase: count for phase, count in self._counts.items() if count > 0}

    def open_deals(self) -> int:
        """Return in how many deals money of ours is or may soon be locked."""
        return sum(1 for job in self.open_jobs() if job.phase.open_deal)

    def open_proposals(self) -> int:
        """Return how many proposals of ours nobody has answered."""
        return sum(1 for job in self.open_jobs() if job.phase in UNANSWERED and not job.hired)

    def proposals_to(self, requester: Address) -> int:
        """Return how many unanswered proposals this requester has from us."""
        return sum(
            1 for job in self.open_jobs() if job.phase in UNANSWERED and job.offer.requester == requester
        )

    def jobs_ahead(self) -> int:
        """Return how many agreed jobs a new one would have to wait for."""
        return sum(1 for job in self.open_jobs() if job.phase in WORKING)

    def pulls_wei(self) -> Wei:
        """Return what the market will still pull for open deals.

        An allowance must cover all of it, because collateral that comes back does not restore the allowance.
        """
        total = 0
        for job in self.open_jobs():
            if job.deal is None:
                continue
            pricing = job.deal.pricing
            if job.phase in {Phase.PROPOSING, Phase.AGREEING}:
                total += job.deal.timeouts.submit_results.collateral_wei
            if job.phase in WORKING | {Phase.PROPOSING, Phase.AGREEING, Phase.PROPOSED, Phase.SUBMITTING}:
                total += pricing.instruction_price_wei * pricing.results_collateral_multiple
        return Wei(total)

    def committed_wei(self) -> Wei:
        """Return what open deals may still take out of our wallet."""
        total = 0
        for job in self.open_jobs():
            if job.deal is None:
                continue
            pricing = job.deal.pricing
            results = pricing.instruction_price_wei * pricing.results_collateral_multiple
            if job.phase in {Phase.PROPOSING, Phase.AGREEING}:
                total += max(job.deal.timeouts.submit_results.collateral_wei, results)
            elif job.phase in WORKING | {Phase.PROPOSED, Phase.SUBMITTING}:
                total += results
        return Wei(total)
