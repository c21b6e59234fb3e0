"""One job rendered by a worker of a command's own, without a node."""

from collections.abc import Callable
from pathlib import Path

from node.app.profile_check import check_profile
from node.app.workers import worker_places, worker_settings
from node.clock import SystemClock
from node.config import Config
from node.errors import JobFailed, Misconfigured
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.pipeline.results import read_result
from node.types import JobId
from node.worker.fake import is_fake
from node.worker.pool import WorkerPool

_JOB = JobId("render")


def require_profile(config: Config, profile: str) -> None:
    """Raise Misconfigured, with the remedy, unless the profile is known and its models are complete."""
    if is_fake(profile):
        return
    check = check_profile(profile, config.worker.residency, config.node.directory)
    if check.verdict == "problem":
        known = not check.remedy or check.remedy in check.finding
        raise Misconfigured(check.finding if known else f"{check.finding}: {check.remedy}")


def is_rendered(job_dir: Path, spec: JobSpec) -> bool:
    """Whether a job's result lies whole in its folder."""
    try:
        return read_result(job_dir, spec) is not None
    except JobFailed:
        # The pool looks closer, and renders again what is damaged.
        return False


async def render_once(
    config: Config, profile: str, spec: JobSpec, job_dir: Path, on_progress: Callable[[Progress], None]
) -> None:
    """Render a job into ``job_dir/result``, going on from the stages that are there.

    Raises what the pool raises for a job that cannot be computed or a worker that does not start.
    """
    # The standalone workers and those of a fleet are the node's.
    section = config.worker.model_copy(update={"profile": profile, "sockets": (), "backend": "process"})
    pool = WorkerPool(
        profile=profile,
        data_dir=config.node.directory,
        settings=worker_settings(section, load_attempts=1),
        clock=SystemClock(),
        places=(await worker_places(section, config.node.directory))[:1],
    )
    await pool.start()
    try:
        await pool.render(_JOB, spec, job_dir, on_progress)
    finally:
        await pool.stop()
