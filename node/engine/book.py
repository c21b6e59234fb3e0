"""The open jobs in memory, which deals are ours, and what both add up to."""

from collections import Counter

from node.job.job import Job
from node.job.phase import WORKING, Phase
from node.journal.records import JobRow
from node.types import Address, DealId, JobId, Wei

RECENT = 500


class Book:
    """What the engine knows without asking the journal. Only the engine changes it.

    Ended jobs stay for a while (``RECENT`` of them) so that the dashboard needs no disk.
    """

    def __init__(self) -> None:
        self._open: dict[JobId, JobRow] = {}
        self._ended: dict[JobId, JobRow] = {}
        self._deals: dict[DealId, JobId] = {}
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

    def row(self, job_id: JobId) -> JobRow | None:
        """Return an open or recently ended job with its times."""
        return self._open.get(job_id) or self._ended.get(job_id)

    def put(self, job: Job, now: float) -> None:
        """Remember a job that changed."""
        before = self.row(job.job_id)
        if before is not None:
            self._counts[before.job.phase] -= 1
        self._counts[job.phase] += 1
        self.highest_number = max(self.highest_number, job.offer.number)
        row = JobRow(job, before.seen_at if before else now, now)
        if job.deal is not None:
            self._deals[job.deal.deal_id] = job.job_id
        if job.phase.terminal:
            self._open.pop(job.job_id, None)
            self._ended[job.job_id] = row
            while len(self._ended) > RECENT:
                del self._ended[next(iter(self._ended))]
        else:
            self._open[job.job_id] = row

    def open_jobs(self) -> list[Job]:
        """Return the jobs that are not terminal."""
        return [row.job for row in self._open.values()]

    def recent(self) -> list[JobRow]:
        """Return open and recently ended jobs, newest first."""
        rows = [*self._open.values(), *self._ended.values()]
        return sorted(rows, key=lambda row: row.job.offer.number, reverse=True)

    def known_deal(self, deal_id: DealId) -> JobId | None:
        """Return our job of this deal, None for a deal that is not ours."""
        return self._deals.get(deal_id)

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each phase, ended ones included."""
        return {phase: count for phase, count in self._counts.items() if count > 0}

    def open_deals(self) -> int:
        """Return in how many deals money of ours is or may soon be locked."""
        return sum(1 for job in self.open_jobs() if job.phase.open_deal)

    def proposals_to(self, requester: Address) -> int:
        """Return how many unanswered proposals this requester has from us."""
        waiting = {Phase.PROPOSING, Phase.PROPOSED, Phase.WITHDRAWING}
        return sum(1 for job in self.open_jobs() if job.phase in waiting and job.offer.requester == requester)

    def jobs_ahead(self) -> int:
        """Return how many agreed jobs a new one would have to wait for."""
        return sum(1 for job in self.open_jobs() if job.phase in WORKING)

    def committed_wei(self) -> Wei:
        """Return what open deals may still take out of our wallet."""
        total = 0
        for job in self.open_jobs():
            if job.deal is None:
                continue
            pricing = job.deal.pricing
            results = pricing.instruction_price_wei * pricing.results_collateral_multiple
            if job.phase == Phase.PROPOSING:
                total += max(job.deal.timeouts.submit_results.collateral_wei, results)
            elif job.phase in WORKING | {Phase.PROPOSED, Phase.SUBMITTING}:
                total += results
        return Wei(total)
