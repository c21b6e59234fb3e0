"""How long a job will take, from measured seconds per unit of work; how long until a slot is free. Pure."""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from node.admission.work import Part, Sizes, work_of
from node.job.spec import JobSpec

LONGEST_S = 30 * 86400.0
"""Beyond this an estimate says no more than that a job never ends."""
ENCODINGS = frozenset({Part.ENCODE, Part.ENCODE_FILES})
NEEDED = frozenset(Part) - ENCODINGS
FILES_TO_CONTAINERS = 2.0
"""Frames as files beside the containers, until measured, in the time of the containers alone."""
LEAST_MARGIN, MARGIN_UNTRIED, MOST_MARGIN = 1.1, 1.5, 4.0
RATIOS_TO_TRUST = 5
_SHARE_WITHIN = 0.9


@dataclass(frozen=True, slots=True)
class UnitTimes:
    """What was measured: seconds per unit of each part, and how well estimates from them have held.

    ``whole_s`` is the time of a whole job, for what has no parts; ``ratios`` are taken to expected times.
    """

    parts: Mapping[Part, float] = field(default_factory=dict)
    whole_s: float | None = None
    ratios: Sequence[float] = ()

    @property
    def complete(self) -> bool:
        """Whether every part that each job has was measured."""
        return self.parts.keys() >= NEEDED and bool(self.parts.keys() & ENCODINGS)

    @property
    def margin(self) -> float:
        """By how much an estimate is to be stretched so that nine jobs in ten end within it."""
        if len(self.ratios) < RATIOS_TO_TRUST:
            return MARGIN_UNTRIED
        within = sorted(self.ratios)[math.ceil(_SHARE_WITHIN * len(self.ratios)) - 1]
        return min(max(within, LEAST_MARGIN), MOST_MARGIN)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of rendering: what is expected, and what a job ends within nine times in ten.

    ``measured`` tells a figure of this machine from the one in the settings.
    """

    expected_s: float
    upper_s: float
    measured: bool


def estimate(spec: JobSpec, sizes: Sizes | None, times: UnitTimes, initial_s: float) -> Estimate:
    """Return how long a job takes. ``initial_s`` stands for whatever was never measured."""
    if sizes is not None and times.complete:
        expected = work_of(spec, sizes).seconds(unit_seconds(times))
    elif times.whole_s is not None:
        expected = times.whole_s
    else:
        return Estimate(initial_s, initial_s, measured=False)
    return Estimate(min(expected, LONGEST_S), min(expected * times.margin, LONGEST_S), measured=True)


def unit_seconds(times: UnitTimes) -> Mapping[Part, float]:
    """Return the seconds per unit; the way of encoding that was not measured is reckoned from the other one.

    Files beside the containers never take less than the containers alone, whatever few samples say.
    """
    alone, files = times.parts.get(Part.ENCODE), times.parts.get(Part.ENCODE_FILES)
    if alone is None and files is None:
        return times.parts
    containers = alone if alone is not None else files or 0.0
    both = containers * FILES_TO_CONTAINERS if files is None else max(files, containers)
    return {**times.parts, Part.ENCODE: containers, Part.ENCODE_FILES: both}


def free_in_s(ahead_s: Sequence[float], slots: int) -> float:
    """Return when one of ``slots`` is free for a job behind those of ``ahead_s``, taken in order."""
    busy = [0.0] * max(1, slots)
    for seconds in ahead_s:
        heapq.heapreplace(busy, busy[0] + max(0.0, seconds))
    return busy[0]
