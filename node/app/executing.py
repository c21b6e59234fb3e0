"""Executions on a node's workers that are no jobs of its own: a mediator's, and those of disputed results."""

from pathlib import Path

from node.app.assembly import Assembly
from node.app.submitted import cid_like
from node.job.spec import JobSpec
from node.mediation.examiner import Examiner
from node.types import JobId


class SpareExecutions:
    """Renders beside the node's jobs, which are told how long what runs here still takes."""

    def __init__(self, node: Assembly) -> None:
        self._node = node
        self._running: dict[Path, tuple[float, float]] = {}
        node.forecast.others = self.left_s
        self.examiner = Examiner(self.render, cid_like)

    def obstacle(self) -> str | None:
        """Return why nothing can be computed now, or None."""
        node = self._node
        return node.drain.problem() or node.disk_problem() or node.worker_problem()

    def busy(self) -> bool:
        """Whether jobs of the node's own want its workers."""
        return self._node.forecast.waiting()

    def expected_s(self, spec: JobSpec) -> float:
        """Return how long a job takes here at most, as far as that is known."""
        return self._node.times.estimate(spec).upper_s

    async def render(self, spec: JobSpec, job_dir: Path) -> None:
        """Render a job into a folder. Raises what the pool raises."""
        node = self._node
        self._running[job_dir] = (node.clock.monotonic(), node.times.estimate(spec).expected_s)
        try:
            await node.pool.render(JobId(job_dir.name), spec, job_dir, lambda _: None)
        finally:
            del self._running[job_dir]

    def left_s(self) -> tuple[float, ...]:
        """Return what is left of each execution, in seconds."""
        now = self._node.clock.monotonic()
        return tuple(
            max(0.0, expected_s - (now - began_at)) for began_at, expected_s in self._running.values()
        )
