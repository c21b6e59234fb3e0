"""One slot of the pool: keeps a worker alive at its place, knows what it does, and tells what is wrong.

Which job it gets is the pool's business.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential

from node.clock import Clock
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.types import JobId
from node.worker.deaths import REMEDIES, Cause, WorkerDied
from node.worker.protocol import Rendered
from node.worker.settings import Place, WorkerSettings

_LONGEST_ABSENCE_S = 5.0


class Worker(Protocol):
    """A worker with its models loaded, whoever started it."""

    ended: asyncio.Event
    reason: str | None
    cause: Cause | None

    @property
    def pid(self) -> int | None:
        """The process id."""
        ...

    @property
    def determinism_class(self) -> str:
        """What its bytes repeat within."""
        ...

    async def render(
        self,
        job_id: JobId,
        spec: JobSpec,
        job_dir: Path,
        on_progress: Callable[[Progress], None],
        on_device_free: Callable[[], None],
    ) -> Rendered:
        """Have one job rendered; the next may come when ``on_device_free`` is called."""
        ...

    async def end(self, reason: str, *, gently: bool, cause: Cause = Cause.ENDED) -> None:
        """End it."""
        ...


@dataclass(frozen=True, slots=True)
class _Doing:
    stage: str | None = None
    step: int = 0
    steps: int = 0
    fraction: float = 0.0
    on_device: bool = True

    def to_json(self, job_id: JobId) -> dict[str, Any]:
        return {
            "job": job_id,
            "stage": self.stage,
            "step": self.step,
            "steps": self.steps,
            "fraction": self.fraction,
        }


class Slot:
    """One place and its worker. ``changed`` is called when the slot may have become free or has failed."""

    def __init__(
        self,
        place: Place,
        hire: Callable[[Place], Awaitable[Worker]],
        settings: WorkerSettings,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self.place = place
        self._hire = hire
        self._settings = settings
        self._clock = clock
        self._changed = changed
        self._keeper: asyncio.Task[None] | None = None
        self._worker: Worker | None = None
        self._doing: dict[JobId, _Doing] = {}
        self._starts = 0
        self._failed_starts = 0
        self._problem: str | None = None
        self.reserved = False
        """Promised to a job that is about to come."""
        self._log = structlog.get_logger().bind(slot=place.name)

    @property
    def ready(self) -> bool:
        """Whether a worker with loaded models is there."""
        return self._worker is not None

    @property
    def free(self) -> bool:
        """Whether the next job may come."""
        busy = self.reserved or any(doing.on_device for doing in self._doing.values())
        return self._worker is not None and not busy

    @property
    def jobs(self) -> int:
        """How many jobs it has, those of which only encoding is left included."""
        return len(self._doing)

    @property
    def given_up(self) -> bool:
        """Whether so many starts in a row have failed that nobody should wait for the next."""
        return self._worker is None and self._failed_starts >= self._settings.load_attempts

    @property
    def determinism_class(self) -> str | None:
        """What its worker's bytes repeat within, None while there is none."""
        return None if self._worker is None else self._worker.determinism_class

    @property
    def replacements(self) -> int:
        """How many workers followed the first one."""
        return max(0, self._starts - 1)

    @property
    def problem(self) -> str | None:
        """Why there is no worker, None if there is one or it is being started for the first time."""
        return self._problem

    def start(self) -> None:
        """Begin to keep a worker alive."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_worker())

    async def stop(self) -> None:
        """End the worker, whatever it does."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.end("the pool was stopped", gently=True)

    async def render(
        self, job_id: JobId, spec: JobSpec, job_dir: Path, on_progress: Callable[[Progress], None]
    ) -> tuple[Rendered, Worker]:
        """Have its worker render a job, and return which one did. Raises what its ``render`` does.

        The slot must be free. A death is told with the slot, the stage and what to do.
        """
        self.reserved = False
        worker = self._worker
        if worker is None or not self.free:
            raise WorkerDied(f"{self.name} has no free worker")
        self._doing[job_id] = _Doing()

        def progressed(progress: Progress) -> None:
            self._doing[job_id] = replace(
                self._doing[job_id],
                stage=progress.stage,
                step=progress.step,
                steps=progress.steps,
                fraction=progress.fraction,
            )
            on_progress(progress)

        def device_is_free() -> None:
            self._doing[job_id] = replace(self._doing[job_id], on_device=False)
            self._changed()

        try:
            return await worker.render(job_id, spec, job_dir, progressed, device_is_free), worker
        except WorkerDied as died:
            if died.cause is not Cause.ENCODER:
                self._forget(worker)
            remedy = REMEDIES.get(died.cause)
            told = f"{self.name}, {died}" + (f": {remedy}" if remedy else "")
            raise WorkerDied(told, died.cause, blamed=died.blamed) from died
        finally:
            del self._doing[job_id]
            self._changed()

    async def replace(self, worker: Worker, reason: str, cause: Cause) -> None:
        """End a worker because it cannot be trusted any more; unless it was replaced, another one follows."""
        self._forget(worker)
        await worker.end(reason, gently=False, cause=cause)

    @property
    def name(self) -> str:
        """What people call it."""
        return f"GPU {self.place.gpu}" if self.place.gpu is not None else f"worker {self.place.name}"

    def at_work(self) -> frozenset[tuple[JobId, str]]:
        """Return each job here with the stage it is in."""
        return frozenset((job_id, doing.stage or "") for job_id, doing in self._doing.items())

    def status(self) -> dict[str, Any]:
        """Return what people and the dashboard see of the slot."""
        on_device = [(job_id, doing) for job_id, doing in self._doing.items() if doing.on_device]
        beside = [doing.to_json(job_id) for job_id, doing in self._doing.items() if not doing.on_device]
        return {
            "name": self.place.name,
            "gpu": self.place.gpu,
            "socket": str(self.place.standalone.socket) if self.place.standalone else None,
            "ready": self.ready,
            "state": self._state(),
            "rendering": next((doing.to_json(job_id) for job_id, doing in on_device), None),
            "encoding": beside[0] if beside else None,
            "determinism_class": self.determinism_class,
            "pid": self._worker.pid if self._worker else None,
            "replacements": self.replacements,
            "problem": self._problem,
        }

    def _state(self) -> str:
        if self._doing:
            return "rendering"
        if self.ready:
            return "idle"
        return "broken" if self._problem else "loading"

    def _forget(self, worker: Worker) -> None:
        if self._worker is worker:
            self._worker = None

    async def _keep_worker(self) -> None:
        """Start a worker, wait for its end, start the next one, for ever."""
        while True:
            worker = await self._start_worker()
            self._worker = worker
            self._changed()
            await worker.ended.wait()
            self._forget(worker)
            # One that was ended here is no loss.
            told = self._log.info if worker.cause is Cause.ENDED else self._log.warning
            told("worker_lost", reason=worker.reason)

    async def _start_worker(self) -> Worker:
        settings = self._settings
        # Asking whether somebody else has started one costs nothing.
        longest_s = _LONGEST_ABSENCE_S if self.place.standalone else settings.restart_backoff_max_s
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((WorkerDied, OSError)),
            wait=wait_exponential(settings.restart_backoff_s, max=longest_s),
            sleep=self._clock.sleep,
            before_sleep=self._note_failed_start,
            reraise=True,
        ):
            with attempt:
                self._starts += 1
                worker = await self._hire(self.place)
        self._failed_starts = 0
        self._problem = None
        self._log.info("worker_ready", pid=worker.pid, determinism_class=worker.determinism_class)
        return worker

    def _note_failed_start(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._failed_starts += 1
        self._problem = f"{self.name}: {error}"
        self._changed()
        self._log.error("worker_start_failed", attempt=state.attempt_number, reason=str(error))
