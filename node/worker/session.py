"""The daemon's side of one connection to a worker: jobs in flight, what is heard of them, and deadlines.

Up to two jobs are in flight: one on the device and one of which only encoding is left. When a worker is lost,
the job it was lost with is told so, and the other one that it is not to blame. Knows no processes: whoever
owns the connection ends them.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from node.clock import Clock
from node.errors import JobFailed, NodeError, Retryable
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.types import JobId
from node.worker.deaths import Cause, WorkerDied
from node.worker.protocol import (
    VERSIONS,
    DeviceFree,
    Failed,
    FailureKind,
    FromWorker,
    Hello,
    Ping,
    Pong,
    Progressed,
    ProtocolViolation,
    Ready,
    Refused,
    Render,
    Rendered,
    Shutdown,
    ToWorker,
    Welcome,
    decode_from_worker,
    encode,
)
from node.worker.settings import WorkerSettings

_DEADLY = {
    FailureKind.OUT_OF_MEMORY: Cause.OUT_OF_MEMORY,
    FailureKind.CRASH: Cause.CRASH,
    FailureKind.LOST: Cause.GONE,
}
_NOBODYS_FAULT = {Cause.ENDED, Cause.LOAD, Cause.BAD_RESULT}
_CUDA_WORDS = ("CUDA", "cuDNN", "CUBLAS", "device-side assert")


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection is over. ``culprit`` is the job that is to blame, if it was not told already."""

    reason: str
    cause: Cause
    culprit: str | None = None
    settled: bool = False
    """The job to blame has been told: no other one is."""


@dataclass(slots=True)
class _Job:
    on_progress: Callable[[Progress], None]
    on_device_free: Callable[[], None]
    answer: asyncio.Future[Rendered]
    started_at: float
    progress_at: float
    stage: str = ""
    on_device: bool = True


class WorkerSession:
    """One connection. ``run`` talks until it is over; ``settle`` then tells the jobs that were in flight."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        settings: WorkerSettings,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._settings = settings
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._heard_at = clock.monotonic()
        self._over: WorkerDied | None = None
        self._log = structlog.get_logger()
        self.pid: int | None = None

    @property
    def determinism_class(self) -> str:
        """What the worker's bytes repeat within; known once it is ready."""
        return self._ready.result().determinism_class

    @property
    def device_free(self) -> bool:
        """Whether the next job may come."""
        return self._over is None and not any(job.on_device for job in self._jobs.values())

    async def greet(self, profile: str) -> None:
        """Agree on a version and a profile. Call it before ``run``. Raises WorkerDied."""
        self._send(Hello(list(VERSIONS), profile, self._settings.residency))
        try:
            async with asyncio.timeout(self._settings.ping_s):
                line = await self._reader.readline()
                if not line:
                    raise WorkerDied("it hung up")
                match decode_from_worker(line):
                    case Welcome() as welcome if welcome.version in VERSIONS:
                        self.pid = welcome.pid
                    case Refused(reason):
                        raise WorkerDied(f"the worker refused: {reason[:500]}", Cause.PROTOCOL)
                    case other:
                        raise WorkerDied(f"the worker answered with {type(other).__name__}", Cause.PROTOCOL)
        except TimeoutError as error:
            raise WorkerDied(f"it gave no answer for {self._settings.ping_s:g} s", Cause.SILENCE) from error
        except (ProtocolViolation, ValueError) as error:
            raise WorkerDied(f"it does not speak the protocol: {error}", Cause.PROTOCOL) from error
        except ConnectionError as error:
            raise WorkerDied("it hung up", Cause.GONE) from error

    async def loaded(self) -> None:
        """Wait until the models are loaded. Raises WorkerDied, also when that takes too long."""
        try:
            async with asyncio.timeout(self._settings.load_s):
                await asyncio.shield(self._ready)
        except TimeoutError as error:
            raise WorkerDied(
                f"the models were not loaded in {self._settings.load_s:g} s", Cause.LOAD
            ) from error

    async def run(self) -> Ending | None:
        """Take messages and watch deadlines. Returns why it is over; None if the worker just hung up."""
        tasks = {asyncio.create_task(self._listen()), asyncio.create_task(self._watch())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        except Exception as error:  # noqa: BLE001 - whatever it was, who waits for a job must not wait for ever
            return Ending(f"the node could not go on talking to it: {error!r}", Cause.CRASH)
        finally:
            for task in tasks:
                task.cancel()

    async def render(
        self,
        job_id: JobId,
        spec: JobSpec,
        job_dir: Path,
        on_progress: Callable[[Progress], None],
        on_device_free: Callable[[], None],
    ) -> Rendered:
        """Have a job rendered; ``on_device_free`` is called when the next one may come.

        Raises WorkerDied, JobFailed if the job cannot be computed, Retryable if this machine failed it.
        """
        if not self.device_free or job_id in self._jobs:
            raise self._over or WorkerDied("the worker is busy")
        now = self._clock.monotonic()
        answer: asyncio.Future[Rendered] = asyncio.get_running_loop().create_future()
        self._jobs[job_id] = _Job(on_progress, on_device_free, answer, now, now)
        try:
            self._send(Render(job_id, spec.to_json(), _absolute(job_dir)))
            return await answer
        finally:
            self._jobs.pop(job_id, None)

    def settle(self, ending: Ending) -> None:
        """Tell every job in flight that the worker is lost; to be called once its process is gone."""
        self._over = WorkerDied(ending.reason, ending.cause)
        culprit = ending.culprit or self._likely_culprit()
        for job_id, job in self._jobs.items():
            blamed = job_id == culprit and not ending.settled and ending.cause not in _NOBODYS_FAULT
            self._tell(job, WorkerDied(_at_stage(ending.reason, job), ending.cause, blamed=blamed))
        if not self._ready.done():
            self._ready.set_exception(self._over)
            # It may be that nobody waits.
            self._ready.exception()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    def order_end(self) -> None:
        """Tell the worker to end at once, whatever it does."""
        self._send(Shutdown())

    def _likely_culprit(self) -> str | None:
        """Return the job on the device, else the one that is being encoded."""
        return min(self._jobs, key=lambda job_id: not self._jobs[job_id].on_device, default=None)

    async def _listen(self) -> Ending | None:
        try:
            while line := await self._reader.readline():
                self._heard_at = self._clock.monotonic()
                ending = self._take(decode_from_worker(line))
                if ending is not None:
                    return ending
        except (ProtocolViolation, ValueError) as error:
            return Ending(f"it broke the protocol: {error}", Cause.PROTOCOL)
        except ConnectionError:
            pass
        return None

    def _take(self, message: FromWorker) -> Ending | None:
        match message:
            case Ready():
                if not self._ready.done():
                    self._ready.set_result(message)
            case Pong():
                pass
            case Refused(reason):
                return Ending(reason[:500], Cause.LOAD)
            case Progressed(job_id=job_id) if job := self._jobs.get(job_id):
                job.progress_at, job.stage = self._heard_at, message.stage
                job.on_progress(
                    Progress(message.stage, message.step, message.steps, message.fraction, message.artifact)
                )
            case DeviceFree(job_id=job_id) if job := self._jobs.get(job_id):
                job.progress_at, job.on_device = self._heard_at, False
                job.on_device_free()
            case Rendered(job_id=job_id) if job := self._jobs.get(job_id):
                job.on_device = False
                if not job.answer.done():
                    job.answer.set_result(message)
            case Failed(job_id=job_id) if job := self._jobs.get(job_id):
                return self._take_failure(job, message)
            case _:
                raise ProtocolViolation(f"a {type(message).__name__} that belongs to no job")
        return None

    def _take_failure(self, job: _Job, failed: Failed) -> Ending | None:
        job.on_device = False
        if failed.of in _DEADLY:
            cause = _DEADLY[failed.of]
            if cause is Cause.CRASH and any(word in failed.reason for word in _CUDA_WORDS):
                cause = Cause.CUDA
            self._tell(job, WorkerDied(_at_stage(failed.reason, job), cause, blamed=True))
            return Ending(failed.reason, cause, settled=True)
        if failed.of is FailureKind.ENCODER:
            self._tell(job, WorkerDied(_at_stage(failed.reason, job), Cause.ENCODER, blamed=True))
        else:
            self._tell(job, (JobFailed if failed.of is FailureKind.JOB else Retryable)(failed.reason))
        return None

    def _tell(self, job: _Job, error: NodeError) -> None:
        if not job.answer.done():
            job.answer.set_exception(error)

    async def _watch(self) -> Ending:
        """Ping until the worker, one of its jobs or that job's progress is overdue."""
        number = 0
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(self._settings.ping_interval_s)
            self._forgive(self._clock.monotonic() - before - self._settings.ping_interval_s)
            number += 1
            self._send(Ping(number))
            ending = self._overdue()
            if ending is not None:
                self._log.warning("worker_overdue", worker_pid=self.pid, reason=ending.reason)
                return ending

    def _forgive(self, late_s: float) -> None:
        """Put deadlines off by the time in which the node itself stood still and could hear nothing."""
        if late_s > self._settings.ping_interval_s:
            self._log.warning("node_stood_still", seconds=round(late_s, 1))
            self._heard_at += late_s
            for job in self._jobs.values():
                job.progress_at += late_s
                job.started_at += late_s

    def _overdue(self) -> Ending | None:
        now, settings = self._clock.monotonic(), self._settings
        if now - self._heard_at > settings.ping_s:
            return Ending(f"it did not answer for {settings.ping_s:g} s", Cause.SILENCE)
        for job_id, job in self._jobs.items():
            if now - job.progress_at > settings.progress_s:
                why = f"its job made no progress for {settings.progress_s:g} s"
                return Ending(why, Cause.HANG, culprit=job_id)
            if now - job.started_at > settings.job_s:
                return Ending(f"its job took more than {settings.job_s:g} s", Cause.HANG, culprit=job_id)
        return None

    def _send(self, message: ToWorker) -> None:
        self._writer.write(encode(message))


def _absolute(path: Path) -> str:
    return str(path.absolute())


def _at_stage(reason: str, job: _Job) -> str:
    at = f"stage {job.stage}: "
    # One that was rendered on another host was told there already.
    return reason if not job.stage or reason.startswith(at) else at + reason
