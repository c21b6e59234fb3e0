"""Carrying out PUBLISH: a result is stored, given to the targets, read back, and only then reported.

No CID is reported that nobody has read. A target that is down holds a result back only until a margin before
the deal's deadline, by chain time; what is there then is enough if it was read at least once.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from node.chain.client import Block
from node.clock import Clock
from node.errors import JobFailed, Retryable
from node.job.copies import Copy, CopyPolicy, told
from node.job.effects import Effect
from node.job.events import JobEvent, Published
from node.job.job import Job
from node.publisher.errors import TreeChanged
from node.types import OWN_STORE, Cid, JobId

LOOK_EVERY_S = 10.0
"""How often chain time is looked at while targets are waited for."""

LAST_CHANCE_S = 30.0
"""How long a first read may take when the margin has begun already, as after an outage."""

LARGEST_SHARE = 4
"""The margin is at most this part of the time that the deal gives for the result."""


class Publishes(Protocol):
    """The publisher."""

    async def publish(self, job_id: JobId, directory: Path) -> Cid:
        """Store a directory, read it back, return its CID."""
        ...


class Spreads(Protocol):
    """The targets and what reads them back; ``Several``."""

    async def spread(
        self,
        job_id: JobId,
        cid: Cid,
        enough: Callable[[Sequence[Copy]], bool],
        *,
        within_s: float,
        last_chance: bool,
    ) -> tuple[Copy, ...]:
        """Bring a result to every place; return what was reached when that is enough or time is up.

        ``last_chance``: a place that asked for time is tried now nevertheless.
        """
        ...

    def leave(self, job_id: JobId, cid: Cid) -> None:
        """Say that the result was reported."""
        ...


class Heads(Protocol):
    """The chain's clock."""

    async def head(self) -> Block:
        """Return the newest block."""
        ...


class Publishing:
    """Carries out PUBLISH. ``margin_s`` is how long before a deadline nothing more is waited for."""

    def __init__(
        self,
        publisher: Publishes,
        several: Spreads,
        heads: Heads,
        *,
        policy: CopyPolicy,
        margin_s: int,
        jobs_dir: Path,
        clock: Clock,
        on_published: Callable[[float], None],
        on_wait: Callable[[JobId, str], None],
    ) -> None:
        self._publisher = publisher
        self._several = several
        self._heads = heads
        self._policy = policy
        self._margin_s = margin_s
        self._jobs_dir = jobs_dir
        self._clock = clock
        self._on_published = on_published
        self._on_wait = on_wait
        self._log = structlog.get_logger()

    async def publish(self, job: Job, effect: Effect) -> JobEvent:
        """Store the result, have it copied and read back, and return its CID with where it is.

        Raises Retryable while the store or the chain cannot be used, JobFailed if the margin begins before
        the result was read from anywhere.
        """
        began = self._clock.monotonic()
        try:
            cid = await self._publisher.publish(effect.job_id, self._result(job))
        except Retryable as problem:
            if await self._left_s(job) <= 0:
                raise JobFailed(f"the result could not be stored in time: {problem}") from problem
            raise
        copies = await self._copied(job, cid)
        self._several.leave(job.job_id, cid)
        self._on_published(self._clock.monotonic() - began)
        return Published(cid, copies, self._policy.lacking(copies))

    async def _copied(self, job: Job, cid: Cid) -> tuple[Copy, ...]:
        while True:
            left_s = await self._left_s(job)
            enough = self._policy.is_met if left_s > 0 else self._policy.is_bearable
            within_s = min(left_s, LOOK_EVERY_S) if left_s > 0 else LAST_CHANCE_S
            copies = await self._several.spread(
                job.job_id, cid, enough, within_s=within_s, last_chance=left_s <= 0
            )
            if self._policy.is_met(copies):
                return copies
            if left_s > 0:
                self._on_wait(job.job_id, self._missing(copies, left_s))
                if any(_may_be_damaged(copy) for copy in copies):
                    await self._store_again(job, cid)
                continue
            if self._policy.is_bearable(copies):
                self._log.warning("published_with_less", cid=cid, copies=told(copies))
                return copies
            raise JobFailed(f"the result could not be read back before the deadline: {_problems(copies)}")

    async def _store_again(self, job: Job, cid: Cid) -> None:
        """Mend the node's own copy from the job's files. Raises TreeChanged where these are others by now."""
        result = self._result(job)
        try:
            again = await self._publisher.publish(job.job_id, result)
        except Retryable as problem:
            # Another place may be read meanwhile, and then the result can be reported nevertheless.
            self._log.warning("result_not_stored_again", job_id=job.job_id, problem=str(problem))
            return
        if again != cid:
            raise TreeChanged(
                f"the files in {result} were published as {cid} and are {again} now: they are published as "
                "they are; if nobody changed them, check the disk"
            )

    def _result(self, job: Job) -> Path:
        return self._jobs_dir / job.job_id / "result"

    async def _left_s(self, job: Job) -> float:
        """Return the seconds of chain time until the margin begins."""
        if job.deadline is None:
            return LOOK_EVERY_S
        margin_s = min(self._margin_s, job.terms.timeouts.submit_results.timeout_s // LARGEST_SHARE)
        return job.deadline - margin_s - (await self._heads.head()).timestamp

    def _missing(self, copies: Sequence[Copy], left_s: float) -> str:
        policy = self._policy
        return (
            f"{policy.counted(copies)} of {policy.copies} copies, {told(copies)}; "
            f"waiting {left_s:.0f} s at most: {_problems(copies)}"
        )


def _may_be_damaged(copy: Copy) -> bool:
    """Whether the node's own copy was tried to read, in vain so far."""
    return copy.place == OWN_STORE and copy.read_at is None and copy.problem is not None


def _problems(copies: Sequence[Copy]) -> str:
    found = [f"{copy.place}: {copy.problem}" for copy in copies if copy.problem is not None]
    return "; ".join(found) or "nothing went wrong so far, it takes its time"
