"""The pool: what the engine asks to render. Each job goes to the first free slot, in order of arrival.

Owns the queue, the retry after a worker's death, the quarantine of inputs that kill workers and the check of
what they deliver. A job resumes from the stages its directory already holds, so a retry and a restart give
the same bytes.
"""

import asyncio
import bisect
import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from node.clock import Clock, SystemClock
from node.errors import Retryable
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.pipeline.profiles import load_profile
from node.pipeline.results import Finished
from node.types import JobId
from node.worker import checking
from node.worker.checking import BadResult
from node.worker.deaths import REMEDIES, Cause, WorkerDied
from node.worker.fake import is_fake
from node.worker.process import SpawnedWorker
from node.worker.quarantine import Quarantine
from node.worker.remote import RemoteWorker
from node.worker.settings import Place, WorkerSettings
from node.worker.slot import Slot, Worker

_LEFT_FOR_S = 7 * 86400.0
_STAGE_LOOK_S = 0.1
"""How long a job's stages stay in a folder shared with another user when nobody asks for them."""


@dataclass(frozen=True, slots=True)
class RenderedFiles:
    """A complete result: the directory to publish and its outputs' paths inside it."""

    directory: Path
    outputs: tuple[str, ...]
    determinism_class: str


@dataclass(order=True, slots=True)
class _Ticket:
    """A place in the queue. A job whose worker died keeps its number, and so goes first."""

    arrival: int
    slot: asyncio.Future[Slot] = field(compare=False)


class WorkerPool:
    """Supervised workers for one profile, one at each place.

    Raises Misconfigured if there is no such profile. ``start`` returns at once; ``ready`` and
    ``determinism_class`` follow when the models of a first worker are loaded. ``on_death`` hears of each
    worker that a job lost. ``barred`` tells why no job may begin at a place now, or None.
    """

    def __init__(
        self,
        *,
        profile: str,
        data_dir: Path,
        settings: WorkerSettings | None = None,
        clock: Clock | None = None,
        places: Sequence[Place] = (Place(),),
        on_death: Callable[[Cause], None] = lambda _: None,
        on_load: Callable[[float], None] = lambda _: None,
        barred: Callable[[Place], str | None] = lambda _: None,
    ) -> None:
        if not is_fake(profile):
            load_profile(profile)
        self._profile = profile
        self._data_dir = data_dir
        self._settings = settings or WorkerSettings()
        self._clock = clock or SystemClock()
        self._on_death = on_death
        self._on_load = on_load
        self._barred = barred
        self._slots = [
            Slot(place, self._hire, self._settings, self._clock, self._hand_out) for place in places
        ]
        self._running = False
        self._closing = False
        self._quarantine: Quarantine | None = None
        self._arrivals = itertools.count()
        self._queue: list[_Ticket] = []
        self._rendering: dict[Path, asyncio.Future[None]] = {}
        self._begun: set[JobId] = set()
        self._log = structlog.get_logger()
        self._known_class: str | None = None

    @property
    def ready(self) -> bool:
        """Whether a worker with loaded models is there."""
        return any(slot.ready for slot in self._slots)

    @property
    def ready_slots(self) -> int:
        """How many workers with loaded models are there."""
        return sum(slot.ready for slot in self._slots)

    @property
    def determinism_class(self) -> str | None:
        """The class of the first slot that has told it; None before."""
        now = next((found for slot in self._slots if (found := slot.determinism_class)), None)
        self._known_class = now or self._known_class
        return self._known_class

    async def start(self) -> None:
        """Begin to keep the workers alive."""
        if not self._running:
            self._running = True
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._quarantine = await asyncio.to_thread(Quarantine, self._data_dir)
            for exchange in {slot.place.standalone.exchange for slot in self._slots if slot.place.standalone}:
                await asyncio.to_thread(checking.sweep, exchange, _LEFT_FOR_S, self._clock.now())
            for slot in self._slots:
                slot.start()

    async def let_stages_end(self, limit_s: float) -> None:
        """Begin no other job; wait until each one that is computed has ended a stage, ``limit_s`` at most."""
        self._closing = True
        begun = [slot.at_work() for slot in self._slots]
        last = self._clock.monotonic() + limit_s
        while self._clock.monotonic() < last:
            if not any(was & slot.at_work() for was, slot in zip(begun, self._slots, strict=True)):
                return
            await self._clock.sleep(_STAGE_LOOK_S)

    async def stop(self) -> None:
        """End the workers, whatever they do; jobs in flight go on from their finished stages another time."""
        self._running = False
        self._hand_out()
        await asyncio.gather(*(slot.stop() for slot in self._slots))

    async def wait_ready(self) -> None:
        """Wait until a worker is free.

        Raises Retryable when several starts in a row have failed or the pool is not running.
        """
        self._give_back(await self._turn(next(self._arrivals)))

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
        arrival = next(self._arrivals)
        # Two workers in one directory would spoil each other's stages.
        while (first := self._rendering.get(job_dir)) is not None:
            await asyncio.wait([first])
        over = self._rendering[job_dir] = asyncio.get_running_loop().create_future()
        try:
            finished = await self._finished(job_dir, spec)
            while finished is None:
                finished = await self._try(arrival, job_id, spec, job_dir, on_progress)
            return RenderedFiles(finished.directory, finished.outputs, finished.determinism_class)
        finally:
            del self._rendering[job_dir]
            over.set_result(None)

    def has_begun(self, job_id: JobId) -> bool:
        """Whether a job has a worker, and does not wait for one."""
        return job_id in self._begun

    def look_again(self) -> None:
        """Give out slots again: what barred one may be over."""
        self._hand_out()

    def status(self) -> dict[str, Any]:
        """Return what people and the dashboard see of the pool; the figures of one worker are the first's."""
        slots = [slot.status() for slot in self._slots]
        states = [slot["state"] for slot in slots]
        first = next((slot for slot in slots if slot["ready"]), None) or next(iter(slots), {})
        doing = [slot["rendering"] or slot["encoding"] for slot in slots]
        return {
            "ready": self.ready,
            "profile": self._profile,
            "state": next((state for state in ("rendering", "idle", "loading") if state in states), "broken"),
            "determinism_class": self.determinism_class,
            "current_job": next((each["job"] for each in doing if each), None),
            "waiting_jobs": len(self._queue),
            "pid": first.get("pid"),
            "replacements": sum(slot["replacements"] for slot in slots),
            "quarantined": self._quarantine.count() if self._quarantine else 0,
            "problem": self._problem(),
            "slots": slots,
        }

    def _problem(self) -> str | None:
        return "; ".join(slot.problem for slot in self._slots if slot.problem) or None

    async def _hire(self, place: Place) -> Worker:
        began = self._clock.monotonic()
        worker = await self._start(place)
        self._on_load(self._clock.monotonic() - began)
        return worker

    async def _start(self, place: Place) -> Worker:
        if place.standalone is not None:
            return await RemoteWorker.connect(place.standalone, self._profile, self._settings, self._clock)
        return await SpawnedWorker.start(
            self._profile, self._data_dir, self._settings, self._clock, place.gpu, place.fleet
        )

    async def _try(
        self,
        arrival: int,
        job_id: JobId,
        spec: JobSpec,
        job_dir: Path,
        on_progress: Callable[[Progress], None],
    ) -> Finished | None:
        """Render once. Returns None if the worker was lost and it is to be tried again."""
        if self._quarantine is not None:
            self._quarantine.check(spec)
        slot = await self._turn(arrival)
        self._begun.add(job_id)
        workplace = _workplace(slot.place, job_dir)
        try:
            rendered, worker = await slot.render(job_id, spec, workplace, on_progress)
            try:
                finished = await self._believed(workplace, job_dir, spec, rendered.determinism_class)
            except BadResult as problem:
                reason = f"{slot.name}: its result is not one: {problem}: {REMEDIES[Cause.BAD_RESULT]}"
                await slot.replace(worker, reason, Cause.BAD_RESULT)
                raise WorkerDied(reason, Cause.BAD_RESULT, blamed=True) from problem
        except WorkerDied as died:
            await self._mourn(job_id, spec, died)
            return None
        finally:
            self._begun.discard(job_id)
        if self._quarantine is not None:
            await asyncio.to_thread(self._quarantine.survived, spec)
        return finished

    async def _finished(self, job_dir: Path, spec: JobSpec) -> Finished | None:
        """Return what is complete on the disk already; what is damaged there is rendered again."""
        if not checking.has_result(job_dir):
            # Without giving way, so that jobs queue in the order in which they were asked for.
            return None
        try:
            return await asyncio.to_thread(checking.checked_result, job_dir, spec)
        except BadResult as problem:
            self._log.warning("result_damaged", directory=str(job_dir), problem=str(problem))
            await asyncio.to_thread(checking.remove_result, job_dir)
            return None

    async def _believed(
        self, workplace: Path, job_dir: Path, spec: JobSpec, determinism_class: str
    ) -> Finished:
        """Return the result that was delivered. Raises BadResult, after it was taken away."""
        try:
            finished = await asyncio.to_thread(
                checking.delivered_result, workplace, job_dir, spec, determinism_class
            )
        except OSError as problem:
            raise Retryable(f"the result cannot be taken over: {problem}") from problem
        except BadResult:
            for place in {workplace, job_dir}:
                await asyncio.to_thread(checking.remove_result, place)
            raise
        if workplace != job_dir:
            await asyncio.to_thread(shutil.rmtree, workplace, ignore_errors=True)
        return finished

    async def _mourn(self, job_id: JobId, spec: JobSpec, died: WorkerDied) -> None:
        if not self._running:
            raise Retryable("the worker pool was stopped") from died
        if not died.blamed or self._quarantine is None:
            return
        self._on_death(died.cause)
        deaths = await asyncio.to_thread(self._quarantine.died, spec, str(died))
        self._log.warning(
            "worker_died_rendering", job_id=job_id, reason=str(died), cause=died.cause, deaths=deaths
        )
        # What took this worker may have taken others at the same moment. Until that is noticed the job could
        # be given to one of them, and be blamed a second time.
        await self._clock.sleep(self._settings.mourning_s)

    async def _turn(self, arrival: int) -> Slot:
        """Wait for a free slot and return it, reserved. Raises Retryable if there will be none for long."""
        ticket = _Ticket(arrival, asyncio.get_running_loop().create_future())
        bisect.insort(self._queue, ticket)
        self._hand_out()
        try:
            return await ticket.slot
        except asyncio.CancelledError:
            if ticket in self._queue:
                self._queue.remove(ticket)
            elif not ticket.slot.cancelled() and ticket.slot.exception() is None:
                self._give_back(ticket.slot.result())
            raise

    def _give_back(self, slot: Slot) -> None:
        slot.reserved = False
        self._hand_out()

    def _hand_out(self) -> None:
        """Give free slots to those who wait, an idle one before one that still encodes."""
        while self._queue:
            free = [slot for slot in self._slots if slot.free and self._barred(slot.place) is None]
            if self._running and self._closing:
                return
            if self._running and free:
                slot = min(free, key=lambda slot: slot.jobs)
                slot.reserved = True
                self._answer(self._queue.pop(0), slot)
            elif not self._running:
                self._answer(self._queue.pop(0), Retryable("the worker pool is not running"))
            elif all(slot.given_up for slot in self._slots):
                why = f"no worker can be started for profile {self._profile}: {self._problem()}"
                self._answer(self._queue.pop(0), Retryable(why))
            else:
                return

    def _answer(self, ticket: _Ticket, answer: Slot | Retryable) -> None:
        if ticket.slot.done():
            # Whoever waited was cancelled and has not run since.
            if isinstance(answer, Slot):
                answer.reserved = False
        elif isinstance(answer, Slot):
            ticket.slot.set_result(answer)
        else:
            ticket.slot.set_exception(answer)


def _workplace(place: Place, job_dir: Path) -> Path:
    """Return the folder the worker of a place works in."""
    return place.standalone.exchange / job_dir.name if place.standalone else job_dir


def is_toy(profile: str) -> bool:
    """Return whether a profile's models were never trained: a private market may offer it, a real one not."""
    return is_fake(profile) or load_profile(profile).made_here
