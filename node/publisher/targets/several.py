"""Bringing results to every place at once, and going on with what is missing in the background.

Each result and place has one task: store, read back, and after a failure again with growing pauses, until it
is done or this node does not keep the result itself any more. What was reached is in the journal, so a
restart goes on where the last process was killed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from traceback import extract_tb
from typing import Any, Protocol

import structlog

from node.clock import Clock
from node.errors import NodeError, NotYet
from node.job.copies import Copy
from node.publisher.blockstore import BlockStore
from node.publisher.cid import BlockId, parse_cid
from node.publisher.targets.target import Reader, Target, TargetBusy, TargetRefuses
from node.publisher.targets.turns import Turns
from node.types import Cid, JobId

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 600.0
REFUSED_PAUSE_S = 60.0
AT_ONCE = 4
"""Results that one place is given at a time, and as many again that a job waits for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where results go or are read from. Without a target it is only read, without a reader only told.

    ``timeout_s`` bounds one attempt. ``kept``: the node's own store, in which every result is already.
    """

    name: str
    kind: str
    target: Target | None
    reader: Reader | None
    timeout_s: float
    kept: bool = False

    def is_done(self, copy: Copy) -> bool:
        """Whether nothing is left to do here."""
        return self._has_it(copy) and (self.reader is None or copy.read_at is not None)

    def _has_it(self, copy: Copy) -> bool:
        return self.target is None or copy.stored_at is not None


class Copies(Protocol):
    """The journal's table of copies."""

    async def want(self, job_id: JobId, cid: Cid, places: Sequence[str]) -> tuple[Copy, ...]:
        """Note that a result is to be at these places; return what is known of each."""
        ...

    async def put(self, job_id: JobId, cid: Cid, copy: Copy) -> None:
        """Keep what is known of one place."""
        ...

    async def forget(self, job_id: JobId, cid: Cid) -> None:
        """Drop what is not done yet."""
        ...

    async def unfinished(self, storing: Sequence[str], reading: Sequence[str]) -> Sequence[Any]:
        """Return rows with ``job_id``, ``cid`` and ``copy`` of what is not stored or not read at these."""
        ...


class Counts(Protocol):
    """The part of the metrics that follows copies."""

    def copy_made(self, outcome: str) -> None:
        """Count ``stored``, ``read``, ``refused`` or ``failed``."""
        ...


class Several:
    """All places of this node. ``open`` it before anything is spread."""

    def __init__(
        self, places: Sequence[Place], store: BlockStore, copies: Copies, counts: Counts, clock: Clock
    ) -> None:
        self._places = {place.name: place for place in places}
        self._store = store
        self._copies = copies
        self._counts = counts
        self._clock = clock
        self._known: dict[tuple[JobId, Cid], dict[str, Copy]] = {}
        self._awaited: set[tuple[JobId, Cid]] = set()
        self._turns = {name: Turns(AT_ONCE, self._awaited.__contains__) for name in self._places}
        self._pausing: dict[tuple[JobId, Cid, str], tuple[asyncio.Timeout, bool]] = {}
        self._running: dict[tuple[JobId, Cid, str], asyncio.Task[None]] = {}
        self._changed = asyncio.Condition()
        self._health: dict[str, str | None] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._log = structlog.get_logger()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Carry on what is unfinished while the context lasts; what is not done then, the next start does."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            # A place that is only read says nothing more about a result that was reported already.
            storing = [place.name for place in self._places.values() if place.target is not None]
            reading = [name for name in storing if self._places[name].reader is not None]
            for row in await self._copies.unfinished(storing, reading):
                self._known.setdefault((row.job_id, row.cid), {})[row.copy.place] = row.copy
                self._start(row.job_id, row.cid, self._places[row.copy.place])
            try:
                yield
            finally:
                self._tasks = None
                for task in self._running.values():
                    task.cancel()

    async def spread(
        self,
        job_id: JobId,
        cid: Cid,
        enough: Callable[[Sequence[Copy]], bool],
        *,
        within_s: float,
        last_chance: bool = False,
    ) -> tuple[Copy, ...]:
        """Bring a result that this node keeps to every place; return what was reached when that is enough.

        Returns after ``within_s`` at the latest. What is missing goes on either way. Safe to repeat:
        each time every place is tried at once, one that asked for time only at the ``last_chance``.
        Raises NotYet while this is not open, as when the node ends.
        """
        self._awaited.add((job_id, cid))
        try:
            known = self._known[job_id, cid] = {
                copy.place: copy for copy in await self._copies.want(job_id, cid, [*self._places])
            }
            for place in self._places.values():
                if place.kept and known[place.name].stored_at is None:
                    known[place.name] = replace(known[place.name], stored_at=self._clock.now())
                    await self._copies.put(job_id, cid, known[place.name])
                self._start(job_id, cid, place)
                self._turns[place.name].look_again()
                self._end_pause((job_id, cid, place.name), also_asked_for=last_chance)
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s), self._changed:
                    await self._changed.wait_for(lambda: enough([*known.values()]))
            return tuple(known.values())
        finally:
            self._awaited.discard((job_id, cid))
            self._tidy(job_id, cid)

    def leave(self, job_id: JobId, cid: Cid) -> None:
        """Say that a result was reported: places that are only read are not waited for any more."""
        for place in self._places.values():
            task = self._running.get((job_id, cid, place.name))
            if place.target is None and task is not None:
                task.cancel()

    def pursued(self, job_id: JobId) -> set[str]:
        """Return the places at which a job's result is still to be stored or read."""
        return {name for job, _, name in self._running if job == job_id}

    def status(self) -> list[dict[str, Any]]:
        """Return every place with its kind, how many results wait for it, and what is wrong there.

        ``tried``: whether anything has come of an attempt since the start.
        """
        return [
            {
                "name": place.name,
                "kind": place.kind,
                "waiting": sum(name == place.name for _, _, name in self._running),
                "tried": place.name in self._health,
                "problem": self._health.get(place.name),
            }
            for place in self._places.values()
        ]

    def _start(self, job_id: JobId, cid: Cid, place: Place) -> None:
        key = (job_id, cid, place.name)
        if self._tasks is None:
            raise NotYet("results are given to no target now: the node begins or ends")
        if key in self._running or place.is_done(self._known[job_id, cid][place.name]):
            return
        task = self._running[key] = self._tasks.create_task(
            self._bring(job_id, cid, place), name=f"copy {job_id} {place.name}"
        )
        task.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: tuple[JobId, Cid, str]) -> None:
        self._running.pop(key, None)
        self._tidy(*key[:2])

    def _tidy(self, job_id: JobId, cid: Cid) -> None:
        awaited = (job_id, cid) in self._awaited
        if not awaited and not any((job_id, cid) == (job, one) for job, one, _ in self._running):
            self._known.pop((job_id, cid), None)

    async def _bring(self, job_id: JobId, cid: Cid, place: Place) -> None:
        root = parse_cid(cid)
        pause_s = FIRST_PAUSE_S
        while True:
            copy = self._known[job_id, cid][place.name]
            try:
                async with self._turns[place.name].turn((job_id, cid)):
                    if not place.kept and not await asyncio.to_thread(self._store.has, root):
                        self._log.info("copy_given_up", job_id=job_id, place=place.name, cid=cid)
                        await self._copies.forget(job_id, cid)
                        return
                    await self._attempt(job_id, root, place, copy)
            except Exception as error:  # noqa: BLE001 - whatever a stranger's answer breaks, the node goes on
                problem = str(error) or f"no end after {place.timeout_s:g} s"
                refused = isinstance(error, TargetRefuses)
                if not isinstance(error, NodeError | TimeoutError):
                    # Its text may hold a request with its credentials: where it was raised is told instead.
                    raised_in = extract_tb(error.__traceback__)[-1]
                    self._log.error(
                        "copy_broke",
                        place=place.name,
                        error=type(error).__name__,
                        raised_in=f"{raised_in.filename}:{raised_in.lineno}",
                    )
                    problem = f"its answer could not be handled ({type(error).__name__}): see the node's log"
                    refused = True
                self._counts.copy_made("refused" if refused else "failed")
                self._health[place.name] = problem
                now = self._known[job_id, cid][place.name]
                if now.problem != problem:
                    self._log.warning("copy_failed", job_id=job_id, place=place.name, problem=problem)
                    await self._keep(job_id, cid, replace(now, problem=problem))
                wait_s = max(pause_s, REFUSED_PAUSE_S if refused else 0.0)
                if isinstance(error, TargetBusy):
                    wait_s = max(wait_s, error.wait_s)
                await self._pause((job_id, cid, place.name), wait_s, asked_for=isinstance(error, TargetBusy))
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                self._health[place.name] = None
                return

    async def _pause(self, key: tuple[JobId, Cid, str], wait_s: float, *, asked_for: bool) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as pause:
                self._pausing[key] = pause, asked_for
                try:
                    await self._clock.sleep(wait_s)
                finally:
                    self._pausing.pop(key, None)

    def _end_pause(self, key: tuple[JobId, Cid, str], *, also_asked_for: bool) -> None:
        pause, asked_for = self._pausing.get(key, (None, False))
        if pause is not None and (also_asked_for or not asked_for):
            del self._pausing[key]
            pause.reschedule(0.0)

    async def _attempt(self, job_id: JobId, root: BlockId, place: Place, copy: Copy) -> None:
        cid = root.to_cid()
        async with asyncio.timeout(place.timeout_s):
            if place.target is not None and await self._is_lacking(place.target, root, copy):
                await place.target.put(job_id, root, self._store)
                copy = replace(copy, stored_at=self._clock.now(), problem=None)
                self._counts.copy_made("stored")
                await self._keep(job_id, cid, copy)
            if place.reader is not None and copy.read_at is None:
                read_bytes = await place.reader.read(root)
                copy = replace(copy, read_at=self._clock.now(), problem=None)
                self._counts.copy_made("read")
                self._log.info("copy_read_back", job_id=job_id, place=place.name, read_bytes=read_bytes)
                await self._keep(job_id, cid, copy)

    async def _is_lacking(self, target: Target, root: BlockId, copy: Copy) -> bool:
        # What was taken and could not be read is asked for: the target may have lost it since.
        return copy.stored_at is None or (copy.problem is not None and not await target.holds(root))

    async def _keep(self, job_id: JobId, cid: Cid, copy: Copy) -> None:
        """Make it durable first, then let it count."""
        await self._copies.put(job_id, cid, copy)
        if (known := self._known.get((job_id, cid))) is not None:
            known[copy.place] = copy
        async with self._changed:
            self._changed.notify_all()
