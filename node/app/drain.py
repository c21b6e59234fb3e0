"""Draining: the node finishes what it agreed to and takes nothing new, across restarts, until it is resumed.

It is the operator's word, kept in the journal: admission asks for it with every offer, and the published
offer is taken back meanwhile.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from node.app.control import Arguments, Verb, ask_running_node
from node.clock import SystemClock
from node.config import Config
from node.job.job import Job
from node.job.phase import UNDELIVERED, Phase
from node.journal.database import Database, InUse
from node.journal.journal import Journal
from node.journal.marks import DRAINING, Marks

DRAIN, RESUME, LOOK = "drain", "resume", "drain.look"
MAX_TOLD = 100
PROPOSALS = frozenset({Phase.PROPOSING, Phase.PROPOSED, Phase.WITHDRAWING})
"""The undelivered whose requester has not agreed."""
START_S = 60.0
ASK_AGAIN_S = 0.5


class Drain:
    """Whether the node drains, and what it still has to deliver. ``changed`` hears of every change."""

    def __init__(
        self,
        marks: Marks,
        open_jobs: Callable[[], Iterable[Job]],
        changed: Callable[..., None] = lambda **_: None,
    ) -> None:
        self._marks = marks
        self._open_jobs = open_jobs
        self._changed = changed
        self._log = structlog.get_logger()
        self.active = False

    def verbs(self) -> Mapping[str, Verb]:
        """Return the commands by name."""
        return {DRAIN: self._drain, RESUME: self._resume, LOOK: self._look}

    async def restore(self) -> None:
        """Take over what the operator decided before this start."""
        self.active = await self._marks.get(DRAINING) is not None
        self._changed(draining=self.active)

    def problem(self) -> str | None:
        """Return why no new job is taken, or None."""
        if not self.active:
            return None
        return f"the node is draining, {left_words(self._told())}: sdv-node resume lets it take jobs again"

    async def _drain(self, _: Arguments) -> dict[str, Any]:
        # Written down before it is obeyed: a node that is killed now comes back draining.
        await self._marks.put(DRAINING, "by the operator")
        self._set(active=True)
        return self._told()

    async def _resume(self, _: Arguments) -> dict[str, Any]:
        was_draining = self.active
        await self._marks.clear(DRAINING)
        self._set(active=False)
        return {**self._told(), "was_draining": was_draining}

    async def _look(self, _: Arguments) -> dict[str, Any]:
        return self._told()

    def _set(self, *, active: bool) -> None:
        if self.active != active:
            self.active = active
            self._log.info("draining" if active else "taking_jobs_again")
            self._changed(draining=active)

    def _told(self) -> dict[str, Any]:
        return told(undelivered(self._open_jobs()), draining=self.active)


def undelivered(jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs that are agreed, or may still be, and have no result on chain."""
    return [job for job in jobs if job.phase in UNDELIVERED]


def told(left: Sequence[Job], *, draining: bool) -> dict[str, Any]:
    """Return the answer of every command about draining.

    ``proposals`` counts the undelivered that nobody agreed to yet; ``proposals_until`` is when the last of
    those on chain can be accepted, in seconds since the Unix epoch.
    """
    proposals = [job for job in left if job.phase in PROPOSALS]
    ends = [job.deadline for job in proposals if job.phase is Phase.PROPOSED and job.deadline is not None]
    return {
        "draining": draining,
        "undelivered": len(left),
        "jobs": [job.job_id for job in left[:MAX_TOLD]],
        "proposals": len(proposals),
        "proposals_until": max(ends, default=None),
        "running": True,
    }


def left_words(told: Mapping[str, Any]) -> str:
    """Say what a drain still waits for: jobs that were agreed, and proposals that may become some."""
    proposals, until = told["proposals"], told["proposals_until"]
    agreed = told["undelivered"] - proposals
    words = []
    if agreed:
        words.append(f"{agreed} {'job is' if agreed == 1 else 'jobs are'} still to be delivered")
    else:
        words.append("all that was agreed is delivered")
    if proposals:
        end = "" if until is None else f" until {datetime.fromtimestamp(until).astimezone():%H:%M}"
        words.append(f"{proposals} proposal{'' if proposals == 1 else 's'} may still be accepted{end}")
    return ", ".join(words)


async def tell(
    config: Config, verb: str, otherwise: Callable[[], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    """Have the running node carry out a command, or do ``otherwise`` while none runs; return what is told.

    A node that is starting has the journal and does not listen yet: it is asked again. Raises InUse if it
    does not listen in the end.
    """
    clock = SystemClock()
    patience_until = clock.monotonic() + START_S
    while True:
        answer = await ask_running_node(config.node.directory, verb)
        if answer is not None:
            return answer
        try:
            return await otherwise()
        except InUse:
            if clock.monotonic() > patience_until:
                raise
        await clock.sleep(ASK_AGAIN_S)


async def drain_stopped(config: Config) -> dict[str, Any]:
    """Have a node that does not run drain from its next start on. Raises InUse if one runs after all."""
    database = Database(config.node.directory)
    try:
        clock = SystemClock()
        await Marks(database, clock).put(DRAINING, "by the operator")
        found = await Journal(database, clock).recover()
        return told(undelivered(row.job for row in found.jobs), draining=True) | {"running": False}
    finally:
        database.close()


async def resume_stopped(config: Config) -> bool:
    """Take back what ``drain_stopped`` did and return whether there was something to take back."""
    database = Database(config.node.directory)
    try:
        marks = Marks(database, SystemClock())
        was_draining = await marks.get(DRAINING) is not None
        await marks.clear(DRAINING)
        return was_draining
    finally:
        database.close()
