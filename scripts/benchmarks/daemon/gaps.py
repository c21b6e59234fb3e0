"""How long a device stood idle between two jobs, read from what the worker told of its progress."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from node.job.progress import Progress

BESIDE_THE_DEVICE = "encode"
"""The stage of a job in which the device is the next job's already."""


@dataclass(frozen=True, slots=True)
class Told:
    """One report of a job's progress and when it was heard, in seconds of any one clock."""

    at: float
    progress: Progress


def device_ended(told: Sequence[Told]) -> float:
    """Return when a job's last work on the device was over: the first report of its last step there."""
    on_device = [one for one in told if one.progress.stage != BESIDE_THE_DEVICE]
    last = (on_device[-1].progress.stage, on_device[-1].progress.step)
    # A file that became ready is told with the same step again.
    return next(one.at for one in on_device if (one.progress.stage, one.progress.step) == last)


def first_step_began(told: Sequence[Told]) -> float:
    """Return when a job's first step began: when it was done, less the shortest of the next ones.

    What a job does before its first step counts as idle, then, such as reading its prompt; and so does what its
    first step takes longer than another.
    """
    stage = told[0].progress.stage
    steps: dict[int, float] = {}
    for one in told:
        if one.progress.stage == stage and one.progress.step > 0:
            steps.setdefault(one.progress.step, one.at)
    times = [steps[step] for step in sorted(steps)]
    return times[0] - min(later - earlier for earlier, later in itertools.pairwise(times))


def handovers(jobs: Sequence[Sequence[Told]]) -> list[float]:
    """Return the part of each gap until the next job is begun: all that is not its own work."""
    return [_begun(following) - device_ended(job) for job, following in itertools.pairwise(jobs)]


def _begun(told: Sequence[Told]) -> float:
    """Return when a job told that its first stage begins; the fake renderer begins with a step."""
    return told[0].at if told[0].progress.step == 0 else first_step_began(told)


def gaps(jobs: Sequence[Sequence[Told]]) -> list[float]:
    """Return the idle seconds between each job and the one after it on the same worker, in order."""
    return [first_step_began(following) - device_ended(job) for job, following in itertools.pairwise(jobs)]
