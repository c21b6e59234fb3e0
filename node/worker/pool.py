"""The pool: what the engine asks to render. One worker, one job at a time, the others wait in order.

Owns replacement, the one retry after a worker's death and the quarantine of inputs that kill workers. A job
resumes from the stages its directory already holds, so a retry and a restart give the same bytes.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential

from node.clock import Clock, SystemClock
from node.errors import JobFailed, Retryable
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.pipeline.profiles import load_profile
from node.pipeline.results import RESULT, Finished, read_result
from node.types import JobId
from node.worker.fake import is_fake
from node.worker.process import WorkerDied, WorkerProcess
from node.worker.settings import WorkerSettings

_DEADLY = 2
_REMEMBERED_INPUTS = 10_000


@dataclass(frozen=True, slots=True)
class RenderedFiles:
    """A complete result: the directory to publish and its outputs' paths inside it."""

    directory: Path
    outputs: tuple[str, ...]
    determinism_class: str


class WorkerPool:
    """One supervised worker for one profile.

    Raises Misconfigured if there is no such profile. ``start`` returns at once; ``ready`` and
    ``determinism_class`` follow when the models are loaded.
    """

    def __init__(
        self,
        *,
        profile: str,
        data_dir: Path,
        settings: WorkerSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not is_fake(profile):
            load_profile(profile)
        self._profile = profile
        self._data_dir = data_dir
        self._settings = settings or WorkerSettings()
        self._clock = clock or SystemClock()
        self._worker: WorkerProcess | None = None
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._deaths: dict[str, list[str]] = {}
        self._current_job: JobId | None = None
        self._waiting = 0
        self._starts = 0
        self._failed_starts = 0
        self._problem: str | None = None
        self._log = structlog.get_logger()
        self.determinism_class: str | None = None

    @property
    def ready(self) -> bool:
        """Whether a worker with loaded models is there."""
        return self._worker is not None

    async def start(self) -> None:
        """Begin to keep a worker alive."""
        if self._keeper is None:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._keeper = asyncio.create_task(self._keep_worker())

    async def stop(self) -> None:
        """End the worker, whatever it does; a job in flight resumes from its finished stages another time."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        async with self._changed:
            self._changed.notify_all()
        if self._worker is not None:
            await self._worker.end("the pool was stopped", gently=True)
            self._worker = None

    async def wait_ready(self) -> None:
        """Wait until a worker is ready.

        Raises Retryable when several starts in a row have failed or the pool is not running.
        """
        await self._ready_worker()

    async def render(
        self,
        job_id: JobId,
        spec: JobSpec,
        job_dir: Path,
        on_progress: Callable[[Progress], None],
    ) -> RenderedFiles:
        """Render a job into ``job_dir``, or return what is already complete there.

        Raises JobFailed if the job cannot be computed or its inputs killed two workers, Retryable if this
        machine could not do it now.
        """
        finished = read_result(job_dir, spec)
        if finished is not None:
            return _files(finished)
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            self._current_job = job_id
            return await self._render_in_turn(job_id, spec, job_dir, on_progress)
        finally:
            self._current_job = None
            self._turn.release()

    def status(self) -> dict[str, Any]:
        """Return what people and the dashboard see of the pool."""
        state = "rendering" if self._current_job else "idle" if self.ready else "loading"
        return {
            "ready": self.ready,
            "profile": self._profile,
            "state": "broken" if self._problem and not self.ready else state,
            "determinism_class": self.determinism_class,
            "current_job": self._current_job,
            "waiting_jobs": self._waiting,
            "pid": self._worker.pid if self._worker else None,
            "replacements": max(0, self._starts - 1),
            "problem": self._problem,
        }

    async def _render_in_turn(
        self, job_id: JobId, spec: JobSpec, job_dir: Path, on_progress: Callable[[Progress], None]
    ) -> RenderedFiles:
        inputs = _inputs_key(spec)
        log = self._log.bind(job_id=job_id)
        while True:
            deaths = self._deaths.get(inputs, [])
            if len(deaths) >= _DEADLY:
                raise JobFailed(
                    f"quarantined: these inputs killed {len(deaths)} workers: {'; '.join(deaths)}"
                )
            # Whoever had the turn before may have rendered this very job.
            finished = read_result(job_dir, spec)
            if finished is not None:
                return _files(finished)
            worker = await self._ready_worker()
            try:
                rendered = await worker.render(job_id, spec, job_dir, on_progress)
            except WorkerDied as error:
                if self._keeper is None:
                    raise Retryable("the worker pool was stopped") from error
                self._remember_death(inputs, str(error))
                log.warning("worker_died_rendering", reason=str(error), deaths=len(self._deaths[inputs]))
                await self._forget(worker)
                continue
            self._deaths.pop(inputs, None)
            return RenderedFiles(job_dir / RESULT, tuple(rendered.outputs), rendered.determinism_class)

    def _remember_death(self, inputs: str, reason: str) -> None:
        if len(self._deaths) >= _REMEMBERED_INPUTS:
            self._deaths.pop(next(iter(self._deaths)))
        self._deaths.setdefault(inputs, []).append(reason)

    async def _ready_worker(self) -> WorkerProcess:
        async with self._changed:
            await self._changed.wait_for(
                lambda: (
                    self._worker is not None
                    or self._keeper is None
                    or self._failed_starts >= self._settings.load_attempts
                )
            )
            if self._keeper is None:
                raise Retryable("the worker pool is not running")
            if self._worker is None:
                raise Retryable(f"no worker can be started for profile {self._profile}: {self._problem}")
            return self._worker

    async def _keep_worker(self) -> None:
        """Start a worker, wait for its end, start the next one, for ever."""
        while True:
            worker = await self._start_worker()
            async with self._changed:
                self._worker = worker
                self.determinism_class = worker.determinism_class
                self._changed.notify_all()
            await worker.ended.wait()
            await self._forget(worker)

    async def _start_worker(self) -> WorkerProcess:
        settings = self._settings
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((WorkerDied, OSError)),
            wait=wait_exponential(settings.restart_backoff_s, max=settings.restart_backoff_max_s),
            sleep=self._clock.sleep,
            before_sleep=self._note_failed_start,
            reraise=True,
        ):
            with attempt:
                self._starts += 1
                worker = await WorkerProcess.start(self._profile, self._data_dir, settings, self._clock)
        self._failed_starts = 0
        self._problem = None
        self._log.info("worker_ready", pid=worker.pid, determinism_class=worker.determinism_class)
        return worker

    async def _note_failed_start(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        async with self._changed:
            self._failed_starts += 1
            self._problem = str(error)
            self._changed.notify_all()
        self._log.error("worker_start_failed", attempt=state.attempt_number, reason=str(error))

    async def _forget(self, worker: WorkerProcess) -> None:
        async with self._changed:
            if self._worker is worker:
                self._worker = None


def _files(finished: Finished) -> RenderedFiles:
    return RenderedFiles(finished.directory, finished.outputs, finished.determinism_class)


def _inputs_key(spec: JobSpec) -> str:
    document = json.dumps([spec.module, spec.tunables()], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()


def is_toy(profile: str) -> bool:
    """Return whether a profile's models were never trained: a private market may offer it, a real one not."""
    return is_fake(profile) or load_profile(profile).made_here
