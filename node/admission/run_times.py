"""How long jobs take here: estimates from what was measured, and the measuring of each job that is rendered.

One record for each profile, GPU model and determinism class; samples and margins are in ``time_records``.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from node.admission.estimate import Estimate, UnitTimes, estimate, unit_seconds
from node.admission.eta import Eta
from node.admission.stage_times import StageTimes
from node.admission.time_records import Machine, TimeRecords
from node.admission.work import Part, Sizes, work_of
from node.clock import Clock
from node.job.progress import Progress
from node.job.spec import JobSpec

MOVED = 0.1
"""Prices follow run times when one of the parts they are made of has moved by more than this share."""
_PRICED = (Part.STILL_EVALUATION, Part.CLIP_EVALUATION)


@dataclass(frozen=True, slots=True)
class Rig:
    """What renders: a profile on a GPU. ``sizes`` is None for a pipeline whose work has no known parts."""

    profile: str
    gpu: str
    sizes: Sizes | None


class Run:
    """One job while it is rendered: what is measured of it and when it will be done.

    ``begun`` is set by the first report; until then it may still wait for a worker.
    """

    def __init__(self, spec: JobSpec, sizes: Sizes | None, expected: Estimate, times: UnitTimes) -> None:
        planned = sizes is not None and times.complete
        stages = work_of(spec, sizes).stages(unit_seconds(times)) if planned and sizes else ()
        self.expected = expected
        self.begun = False
        self.eta = Eta(expected.expected_s, stages)
        self.stages = None if sizes is None else StageTimes(spec, sizes)

    def told(self, progress: Progress, now: float) -> None:
        """Take a report into account; ``now`` is monotonic, in seconds."""
        self.begun = True
        self.eta.told(progress, now)
        if self.stages is not None:
            self.stages.told(progress, now)

    def ended(self, now: float) -> None:
        """Take note that the result is there."""
        if self.stages is not None:
            self.stages.ended(now)


class RunTimes:
    """Estimates and learns. ``determinism_class`` tells the worker's, None while there is none."""

    def __init__(
        self,
        rig: Rig,
        records: TimeRecords,
        *,
        initial_s: float,
        clock: Clock,
        determinism_class: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.rig = rig
        self._records = records
        self._initial_s = initial_s
        self._clock = clock
        self._class = determinism_class
        self._saving = asyncio.Lock()
        self._log = structlog.get_logger()

    def times(self) -> UnitTimes:
        """Return what was measured of this rig, of its newest class while the worker has not told its own."""
        found = self._machine(self._class())
        return found.unit_times() if found else UnitTimes()

    def estimate(self, spec: JobSpec) -> Estimate:
        """Return how long a job takes here."""
        return estimate(spec, self.rig.sizes, self.times(), self._initial_s)

    def run(self, spec: JobSpec) -> Run:
        """Return what follows a job that is about to be rendered."""
        return Run(spec, self.rig.sizes, self.estimate(spec), self.times())

    async def learn(self, run: Run, taken_s: float, determinism_class: str) -> None:
        """Count a finished job. Where the disk does not take it, it holds until a restart."""
        machine = self._records.find_or_add(self.rig.profile, self.rig.gpu, determinism_class)
        for part, samples in (run.stages.samples() if run.stages else {}).items():
            for sample in samples:
                machine.keep(machine.parts.setdefault(part, []), sample)
        machine.keep(machine.whole_s, taken_s)
        if run.expected.measured and run.expected.expected_s > 0 and taken_s > 0:
            machine.keep(machine.ratios, taken_s / run.expected.expected_s)
        machine.updated_at = self._clock.now()
        await self.save()

    async def save(self) -> None:
        """Write down what was learned, beside the loop."""
        async with self._saving:
            try:
                await asyncio.to_thread(self._records.save, self._records.text())
            except OSError as problem:
                self._log.warning("run_times_not_written", problem=str(problem))

    def priced_units(self) -> dict[Part, float]:
        """Return the seconds per unit that prices by the second are made of; empty while nothing is measured.

        They stay as they are until times have moved away from them, so that a published offer need not be
        published again for every job that was a little quicker.
        """
        machine = self._machine(None)
        if machine is None or self.rig.sizes is None or not machine.unit_times().complete:
            return {}
        now = dict(unit_seconds(machine.unit_times()))
        if any(_moved(machine.priced.get(part), now[part]) for part in _PRICED):
            self._log.info("prices_follow_run_times", seconds_per_unit=now)
            machine.priced = now
        return dict(machine.priced)

    def status(self) -> dict[str, object]:
        """Return what people see of the estimates."""
        times = self.times()
        return {
            "profile": self.rig.profile,
            "gpu": self.rig.gpu,
            "measured": times.complete or times.whole_s is not None,
            "margin": times.margin,
            "seconds_per_unit": {part.value: seconds for part, seconds in times.parts.items()},
            "problem": self._records.problem,
        }

    def _machine(self, determinism_class: str | None) -> Machine | None:
        return self._records.find(self.rig.profile, self.rig.gpu, determinism_class)


def _moved(priced: float | None, now: float) -> bool:
    return priced is None or abs(now - priced) > MOVED * priced
