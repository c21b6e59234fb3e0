"""The GPUs as this node uses them: readings, gate, hours and the memory ledger, joined with its open jobs.

Owns what is told of GPUs in the status, in the readiness and in the metrics, and whether the worker is kept
while nobody may use it. Judging is pure (``node.gpu.gate``); the reading has a thread of its own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import structlog

from node.app.gpu_need import rules_of
from node.clock import Clock
from node.gpu.gate import Cause, Judgement, Past, judge
from node.gpu.history import GpuHistory
from node.gpu.hours import Hours
from node.gpu.ledger import Claim, VramLedger
from node.gpu.need import MemoryNeed
from node.gpu.processes import runs_as, started_here
from node.gpu.readings import Fault, FaultKind, GpuInfo, GpuReport
from node.gpu.watch import GpuWatch, Session
from node.gpu_settings import GpuSection
from node.job.job import Job
from node.job.phase import NEGOTIATING, Phase
from node.observe.health import Health
from node.types import GpuUuid, JobId

NEEDS_GPU = (NEGOTIATING - {Phase.SEEN}) | {Phase.AGREED, Phase.RENDERING}
"""From the decision to take a job until it is rendered, a GPU's memory is promised to it."""
NO_GPU_TO_USE = "no GPU could be used"
_UNKNOWN = frozenset({FaultKind.HUNG, FaultKind.NOT_READ})


class Workers(Protocol):
    """Who holds the GPU's memory while there is nothing to do; the worker pool."""

    @property
    def ready(self) -> bool:
        """Whether a worker is there."""
        ...

    def status(self) -> dict[str, Any]:
        """Return what people see of them, process ids included."""
        ...

    async def start(self) -> None:
        """Keep workers from now on; again changes nothing."""
        ...

    async def stop(self) -> None:
        """End them; again changes nothing."""
        ...

    def look_again(self) -> None:
        """Give jobs to the workers that may have some now."""
        ...


class OwnProcesses:
    """Tells this node's processes from others: what it started, and workers that somebody starts for it.

    ``uid`` is the user of such workers, None where there are none.
    """

    def __init__(self, uid: int | None = None) -> None:
        self._started_here = started_here()
        self._uid = uid
        self.workers: frozenset[int] = frozenset()

    def __call__(self, pid: int) -> bool:
        """Whether a process is ours. Called from the thread that reads the GPUs."""
        # One that still loads its models has not told its process id.
        theirs = self._uid is not None and runs_as(pid, self._uid)
        return theirs or pid in self.workers or self._started_here(pid)


class GpuCounters(Protocol):
    """The part of the metrics that counts."""

    def gpu_errors(self, gpu: str, count: int) -> None:
        """Count critical errors that the driver reported."""
        ...


class GpuRoom:
    """Meets the engine's ``GpuGate``. ``need`` is None for a profile that computes on the processor.

    ``expected_s``: how long a job taken now is expected to need until it is rendered, those before it
    included. ``chosen``: the operator's GPUs by UUID or index, none for all. ``tended_elsewhere``: workers
    that another user starts may see GPUs that this process does not, and then are trusted with them.
    """

    def __init__(
        self,
        need: MemoryNeed | None,
        settings: GpuSection,
        *,
        session: Session,
        own: OwnProcesses,
        workers: Workers,
        open_jobs: Callable[[], Iterable[Job]],
        expected_s: Callable[[], float],
        counters: GpuCounters,
        health: Health,
        clock: Clock,
        update: Callable[..., None],
        chosen: Sequence[str] = (),
        tended_elsewhere: bool = False,
        hours: Hours | None = None,
    ) -> None:
        self._need = need
        self._settings = settings
        self._rules = rules_of(settings)
        self._hours = hours or Hours(settings.windows)
        self.history = GpuHistory(clock)
        self._own = own
        self._workers = workers
        self._open_jobs = open_jobs
        self._expected_s = expected_s
        self._counters = counters
        self._health = health
        self._clock = clock
        self._update = update
        self._chosen = frozenset(chosen)
        self._tended_elsewhere = tended_elsewhere
        self._past = Past()
        self._judgement = Judgement()
        self._ledger = VramLedger({})
        self._homeless: tuple[JobId, ...] = ()
        self._errors: dict[GpuUuid, int] = {}
        self._kept = False
        self._log = structlog.get_logger()
        self._known: object = None
        self._watch = GpuWatch(session, clock, every_s=settings.poll_interval_s, on_report=self._hear)

    @property
    def cards(self) -> tuple[GpuInfo, ...]:
        """The GPUs that answer."""
        return self._watch.report.gpus

    def take_over(self, settings: GpuSection) -> None:
        """Go by changed hours and temperatures; how often is looked stays as it was."""
        self._settings = settings
        self._rules = rules_of(settings)
        self._hours = Hours(settings.windows)

    async def begin(self) -> None:
        """Read the GPUs for the first time, and start the worker if it may be there."""
        await self._look()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self._clock.sleep(self._settings.poll_interval_s)
            await self._look()

    def close(self) -> None:
        """End the session with the driver."""
        self._watch.close()

    def claim_obstacle(self, job_id: JobId | None = None) -> str | None:
        """Return why no deal may be made now, or not for this job: hours, GPUs, memory; None if one may."""
        obstacle = self._closed(self._expected_s()) or self.start_obstacle()
        if obstacle is not None or self._need is None or self._blind:
            return obstacle
        self._settle()
        if job_id is None:
            held = not self._homeless and self._ledger.place(self._need.bytes, self._need.profile) is not None
        else:
            held = bool(self._ledger.held(job_id))
        if held:
            return None
        waiting = f", and {', '.join(self._homeless)} wait for theirs" if self._homeless else ""
        return f"{self._need.words()}, which no GPU has beside what is promised{waiting}"

    def start_obstacle(self) -> str | None:
        """Return why no agreed job can begin now, in words; outside of ``gpu.hours`` they are finished."""
        return None if self._need is None or self._blind else self._judgement.obstacle

    def obstacle(self) -> str | None:
        """Return why the GPUs may not be used for new work at this moment, in words; None if they may."""
        return self._closed(0.0) or self.start_obstacle()

    def barred(self, gpu: str | None) -> str | None:
        """Return why no job may begin at a worker, in words; None if one may.

        ``gpu`` is its GPU by UUID or index; None for a worker that finds one itself.
        """
        if gpu is None:
            return self.start_obstacle()
        if self._need is None or self._blind:
            return None
        card = next((card for card in self.cards if gpu in _names(card)), None)
        if card is None:
            return f"GPU {gpu} does not answer: {self._watch.report.problem or '`nvidia-smi -L` lists those'}"
        if card.uuid in self._judgement.open:
            return None
        return (
            "; ".join(each.words for each in self._judgement.reasons(card.uuid))
            or f"{card.label} is not of worker.gpus"
        )

    async def _look(self) -> None:
        self._own.workers = _process_ids(self._workers.status())
        await self._watch.look()
        await self._keep_worker()
        self._workers.look_again()

    @property
    def _blind(self) -> bool:
        """Whether the GPUs are those of workers that see more of them than this process."""
        return self._tended_elsewhere and not self.cards

    def _ours(self, report: GpuReport) -> GpuReport:
        if not self._chosen:
            return report
        gpus = tuple(gpu for gpu in report.gpus if self._chosen & _names(gpu))
        if gpus or not report.gpus:
            return replace(report, gpus=gpus)
        words = f"none of worker.gpus ({', '.join(sorted(self._chosen))}) answers: `nvidia-smi -L` lists GPUs"
        return GpuReport((), (*report.faults, Fault(FaultKind.NO_GPU, words)))

    def _closed(self, for_s: float) -> str | None:
        now = self._clock.now()
        if self._hours.open_for(now, for_s):
            return None
        change = self._hours.changes_at(now)
        when = "" if change is None else self._hours.clock_at(change)
        if not self._hours.open_at(now):
            return (
                f"gpu.hours lend the GPU again from {when} on"
                if when
                else "gpu.hours lend the GPU at no time"
            )
        return f"gpu.hours lend the GPU until {when}, and a job taken now may need {for_s:.0f} s"

    def _hear(self, report: GpuReport) -> None:
        self._say_changes(report)
        self.history.note(report.gpus)
        if self._need is not None:
            self._judgement, self._past = judge(
                self._ours(report),
                self._need,
                self._rules,
                self._past,
                now_s=self._clock.monotonic(),
                worker_runs=self._workers.ready,
            )
            # A driver that does not answer says nothing of what is promised on its GPUs.
            if not any(fault.kind in _UNKNOWN for fault in report.faults):
                self._ledger.resize(self._judgement.room_bytes)
        self._settle()
        for gpu in report.gpus:
            self._count_errors(gpu)
        obstacle = self.obstacle()
        self._health.condition("gpu", ok=obstacle is None, why=obstacle or "")
        self._update(
            gpus=[self._told(gpu) for gpu in report.gpus],
            gpu_problem=report.problem,
            gpu_gate=self._gate_told(obstacle),
        )

    def _settle(self) -> None:
        if self._need is None or self._blind:
            self._homeless = ()
            return
        claim = Claim(self._need.bytes, self._need.profile)
        claims = {job.job_id: claim for job in self._open_jobs() if job.phase in NEEDS_GPU}
        homeless = self._ledger.settle(claims)
        if homeless != self._homeless:
            self._log.warning("jobs_without_gpu_memory", jobs=list(homeless))
        self._homeless = homeless

    def _say_changes(self, report: GpuReport) -> None:
        gist = [gpu.uuid for gpu in report.gpus], [(fault.kind, fault.gpu) for fault in report.faults]
        if gist != self._known:
            self._known = gist
            self._log.info("gpus_changed", gpus=[gpu.label for gpu in report.gpus], problem=report.problem)

    def _count_errors(self, gpu: GpuInfo) -> None:
        fresh = gpu.xid_errors - self._errors.get(gpu.uuid, 0)
        if fresh <= 0 or gpu.xid is None:
            return
        self._errors[gpu.uuid] = gpu.xid_errors
        self._counters.gpu_errors(str(gpu.index), fresh)
        say = self._log.error if gpu.xid.fatal else self._log.warning
        say("gpu_error", gpu=gpu.label, xid=gpu.xid.number, meaning=gpu.xid.meaning, remedy=gpu.xid.remedy)

    def _told(self, gpu: GpuInfo) -> dict[str, Any]:
        # The status may be public, and what else an operator runs is nobody's business: doctor names it.
        others = [
            {"pid": each.pid, "memory_bytes": each.memory_bytes, "computes": each.computes}
            for each in gpu.other_processes
        ]
        return {
            **gpu.to_json(),
            "other_processes": others,
            "usable": self.barred(gpu.uuid) is None,
            "shut": [
                {"cause": each.cause.value, "reason": each.words}
                for each in self._judgement.reasons(gpu.uuid)
            ],
            "promised_bytes": self._ledger.promised_bytes(gpu.uuid),
            "jobs": list(self._ledger.jobs_on(gpu.uuid)),
        }

    def _gate_told(self, obstacle: str | None) -> dict[str, Any]:
        now = self._clock.now()
        return {
            "open": obstacle is None,
            "reason": obstacle,
            "needed_bytes": None if self._need is None else self._need.bytes,
            "hours": list(self._settings.hours),
            "in_hours": self._hours.open_at(now),
            "hours_change_at": self._hours.changes_at(now),
            "without_memory": list(self._homeless),
        }

    async def _keep_worker(self) -> None:
        wanted = self._worker_wanted()
        if wanted == self._kept:
            return
        self._kept = wanted
        if wanted:
            await self._workers.start()
        else:
            self._log.info("worker_released", reason=self.obstacle())
            await self._workers.stop()

    def _worker_wanted(self) -> bool:
        if self._need is not None and not self._kept and not self.cards and not self._blind:
            # It would load torch and end, again and again, for want of a card.
            return False
        if not self._settings.release_when_idle:
            return True
        if any(job.phase in NEEDS_GPU for job in self._open_jobs()):
            return True
        causes = {each.cause for each in self._judgement.shut}
        left = not self._judgement.open and Cause.OTHERS in causes
        return not left and self._hours.open_at(self._clock.now())


def _names(gpu: GpuInfo) -> frozenset[str]:
    return frozenset({str(gpu.index), gpu.uuid})


def _process_ids(status: Mapping[str, Any]) -> frozenset[int]:
    """Return the processes that a pool tells of, in whichever of its slots."""
    places = [status, *status.get("slots", [])]
    return frozenset(place["pid"] for place in places if place.get("pid"))
