"""The portal's three promises, and that an error of one call or of trio itself is told and not waited for."""

import asyncio
import gc
import threading
from pathlib import Path

import pytest
import trio

from node.publisher.p2p.errors import PortalClosed
from node.publisher.p2p.portal import TrioPortal

DESCRIPTORS = Path("/proc/self/fd")


class Sleeper:
    """A trio task that never ends by itself."""

    def __init__(self):
        self.began = threading.Event()
        self.cancelled = threading.Event()

    async def sleep(self):
        self.began.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled.set()
            raise


async def begun(sleeper):
    assert await asyncio.to_thread(sleeper.began.wait, 60)


async def test_a_call_returns_what_the_trio_function_returns():
    async def add(first, second):
        await trio.lowlevel.checkpoint()
        return first + second, threading.current_thread().name

    async with TrioPortal("trio under test") as portal:
        assert await portal.call(add, 2, 3) == (5, "trio under test")


async def test_cancelling_the_asyncio_caller_cancels_the_trio_task():
    sleeper = Sleeper()
    async with TrioPortal() as portal:
        caller = asyncio.create_task(portal.call(sleeper.sleep))
        await begun(sleeper)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        # Not only asked to end: it has ended when the caller goes on.
        assert sleeper.cancelled.is_set()


async def test_closing_fails_every_call_in_flight():
    sleepers = [Sleeper() for _ in range(20)]
    portal = TrioPortal()
    await portal.open()
    callers = [asyncio.create_task(portal.call(sleeper.sleep)) for sleeper in sleepers]
    for sleeper in sleepers:
        await begun(sleeper)
    await portal.close()
    outcomes = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 60)
    assert {type(outcome) for outcome in outcomes} == {PortalClosed}
    assert all(sleeper.cancelled.is_set() for sleeper in sleepers)


async def test_a_call_after_close_raises_portal_closed():
    portal = TrioPortal()
    await portal.open()
    await portal.close()
    with pytest.raises(PortalClosed, match="start it again"):
        await portal.call(trio.sleep, 0)


async def test_a_call_before_open_raises_portal_closed():
    with pytest.raises(PortalClosed):
        await TrioPortal().call(trio.sleep, 0)


async def test_an_error_of_one_call_is_its_callers_and_leaves_the_others_alone():
    async def fail():
        raise LookupError("no such thing")

    sleeper = Sleeper()
    async with TrioPortal() as portal:
        other = asyncio.create_task(portal.call(sleeper.sleep))
        await begun(sleeper)
        with pytest.raises(LookupError, match="no such thing"):
            await portal.call(fail)
        assert not other.done()
        other.cancel()
        await asyncio.wait({other})


async def test_when_trio_itself_breaks_the_calls_in_flight_fail_and_tell_why():
    async def break_trio():
        async def system_task():
            raise LookupError("a bug outside of every call")

        trio.lowlevel.spawn_system_task(system_task)

    sleeper = Sleeper()
    portal = TrioPortal()
    await portal.open()
    waiting = asyncio.create_task(portal.call(sleeper.sleep))
    await begun(sleeper)
    await portal.call(break_trio)
    with pytest.raises(PortalClosed):
        await asyncio.wait_for(waiting, 60)
    await asyncio.to_thread(portal._thread.join, 10)
    assert portal.closed
    with pytest.raises(PortalClosed) as told:
        await portal.call(trio.sleep, 0)
    assert isinstance(told.value.__cause__, trio.TrioInternalError)
    await portal.close()


async def test_calls_that_race_with_close_all_come_to_an_end():
    for _ in range(20):
        portal = TrioPortal()
        await portal.open()
        calls = [asyncio.create_task(portal.call(trio.sleep, 0.001)) for _ in range(10)]
        closing = asyncio.create_task(portal.close())
        calls += [asyncio.create_task(portal.call(trio.sleep, 0.001)) for _ in range(10)]
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 60)
        assert all(outcome is None or isinstance(outcome, PortalClosed) for outcome in outcomes)
        await closing


async def test_fifty_portals_leave_no_descriptor_and_no_thread():
    async def cycle():
        async with TrioPortal("cycled") as portal:
            await portal.call(trio.sleep, 0)

    await cycle()
    gc.collect()
    before = len(list(DESCRIPTORS.iterdir()))
    for _ in range(50):
        await cycle()
    gc.collect()
    assert len(list(DESCRIPTORS.iterdir())) <= before
    assert not [thread for thread in threading.enumerate() if thread.name == "cycled"]


async def test_opening_that_is_cancelled_leaves_no_thread():
    opening = asyncio.create_task(TrioPortal("cancelled").open())
    await asyncio.sleep(0)  # the thread is there, and has not told yet that trio runs
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not [thread for thread in threading.enumerate() if thread.name == "cancelled"]
