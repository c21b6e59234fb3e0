"""What a connection to a worker makes of silence: whose it was."""

import asyncio
from pathlib import Path

import pytest

from node.types import JobId
from node.worker.deaths import Cause, WorkerDied
from node.worker.session import WorkerSession
from node.worker.settings import WorkerSettings
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import make_spec

SETTINGS = WorkerSettings(ping_interval_s=1.0, ping_s=10.0, progress_s=30.0)


class StandsStill(FakeClock):
    """A clock of a node that sleeps as it asks to, but once for ``still_s`` longer."""

    def __init__(self, still_s: float) -> None:
        super().__init__()
        self.still_s = still_s

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds + self.still_s)
        self.still_s = 0.0


class Nowhere:
    """A writer of which nothing is read."""

    def write(self, data: bytes) -> None:
        del data


async def in_flight(
    clock: FakeClock, settings: WorkerSettings = SETTINGS
) -> tuple[WorkerSession, asyncio.Task[object]]:
    """Return a session with one job in flight whose worker never says anything."""
    session = WorkerSession(asyncio.StreamReader(), Nowhere(), settings, clock)  # type: ignore[arg-type]
    job = asyncio.create_task(
        session.render(JobId("j1"), make_spec(), Path("job"), lambda _: None, lambda: None)
    )
    await asyncio.sleep(0)
    return session, job


async def end_of(session: WorkerSession, job: asyncio.Task[object]) -> Cause:
    ending = await session.run()
    assert ending is not None
    session.settle(ending)
    with pytest.raises(WorkerDied) as died:
        await job
    assert died.value.blamed
    return ending.cause


async def test_a_worker_that_says_nothing_is_given_up_after_as_long_as_it_may_be_silent():
    clock = FakeClock()
    began = clock.monotonic()
    session, job = await in_flight(clock)
    assert await end_of(session, job) is Cause.SILENCE
    assert SETTINGS.ping_s < clock.monotonic() - began <= SETTINGS.ping_s + SETTINGS.ping_interval_s


@pytest.mark.parametrize("still_s", [11.0, 1000.0])
async def test_time_in_which_the_node_itself_stood_still_is_not_held_against_the_worker(still_s):
    clock = StandsStill(still_s)
    began = clock.monotonic()
    session, job = await in_flight(clock)
    assert await end_of(session, job) is Cause.SILENCE
    assert clock.monotonic() - began > still_s + SETTINGS.ping_s


async def test_nor_is_it_held_against_its_job():
    clock = StandsStill(1000.0)
    began = clock.monotonic()
    session, job = await in_flight(clock, WorkerSettings(ping_interval_s=1.0, ping_s=1e6, progress_s=10.0))
    assert await end_of(session, job) is Cause.HANG
    assert clock.monotonic() - began > 1000.0 + 10.0
