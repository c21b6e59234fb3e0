"""When jobs will be done: what is left of the running ones, and how long the others wait for a slot."""

from collections.abc import Callable
from itertools import takewhile
from typing import Any

from node.admission.estimate import free_in_s
from node.admission.run_times import Run, RunTimes
from node.clock import Clock
from node.engine.book import Book
from node.job.job import Job
from node.job.phase import Phase
from node.job.spec import JobSpec
from node.types import JobId

TO_RENDER = frozenset({Phase.AGREED, Phase.RENDERING})


class Forecast:
    """Follows every job that is rendered. ``slots`` tells how many are rendered side by side."""

    def __init__(self, times: RunTimes, book: Book, clock: Clock, slots: Callable[[], int]) -> None:
        self._times = times
        self._book = book
        self._clock = clock
        self.slots = slots
        self.others: Callable[[], tuple[float, ...]] = tuple
        """What is left of executions that are no jobs of ours, such as a mediator's, in seconds."""
        self._runs: dict[JobId, Run] = {}

    def begin(self, job: Job) -> Run:
        """Return what follows a job that is about to be rendered, until ``end``."""
        run = self._runs[job.job_id] = self._times.run(job.offer.spec)
        return run

    def end(self, job: Job) -> None:
        """Forget a job's run."""
        self._runs.pop(job.job_id, None)

    def ahead_s(self) -> tuple[float, ...]:
        """Return what is left of each agreed job that a new one would wait for, in their order."""
        return (*self.others(), *(self._left_s(job) for job in self._line()))

    def waiting(self) -> bool:
        """Whether a job that was agreed is not rendered yet."""
        return bool(self._line())

    def new_job_s(self, spec: JobSpec) -> float:
        """Return when a job that was agreed now would be rendered, those before it included."""
        return free_in_s(self.ahead_s(), self.slots()) + self._times.estimate(spec).expected_s

    def of(self, job: Job) -> dict[str, Any] | None:
        """Return what people are told of an agreed job that is not rendered yet, in seconds."""
        if job.phase not in TO_RENDER:
            return None
        run = self._runs.get(job.job_id)
        expected = run.expected if run else self._times.estimate(job.offer.spec)
        left_s = self._left_s(job)
        if not self._has_begun(job):
            before = takewhile(lambda other: other.job_id != job.job_id, self._line())
            left_s += free_in_s([self._left_s(other) for other in before], self.slots())
        return {
            "expected_s": round(expected.expected_s, 3),
            "upper_s": round(expected.upper_s, 3),
            "left_s": round(left_s, 3),
            "measured": expected.measured,
        }

    def _line(self) -> list[Job]:
        """Return the agreed jobs that are not rendered, those that have begun first."""
        agreed = [job for job in self._book.open_jobs() if job.phase in TO_RENDER]
        return sorted(agreed, key=lambda job: not self._has_begun(job))

    def _has_begun(self, job: Job) -> bool:
        run = self._runs.get(job.job_id)
        return run is not None and run.begun

    def _left_s(self, job: Job) -> float:
        run = self._runs.get(job.job_id)
        if run is None:
            return self._times.estimate(job.offer.spec).expected_s
        return run.eta.left_s(self._clock.monotonic())
