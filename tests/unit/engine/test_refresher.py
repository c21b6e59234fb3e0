"""How soon what people see of the node follows what the node knows of itself."""

import asyncio

from node.engine.follow import Refresher
from tests.fakes.clock import FakeClock


async def reads_within(seconds, sooner):
    clock = FakeClock()
    began = clock.monotonic()
    read_at = []

    async def read():
        read_at.append(clock.monotonic() - began)
        return {}

    refresher = Refresher(
        read, every_s=10.0, clock=clock, update=lambda: None, sooner=lambda: sooner(clock.monotonic() - began)
    )
    running = asyncio.create_task(refresher.run())
    while clock.monotonic() - began < seconds:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    return [at for at in read_at if at < seconds]


async def test_readings_are_repeated_at_their_pace():
    assert await reads_within(30.0, lambda _: "the same") == [0.0, 10.0, 20.0]


async def test_what_changes_in_the_node_itself_is_told_within_a_second():
    ready_after_s = 3.5
    assert await reads_within(20.0, lambda now: now >= ready_after_s) == [0.0, 4.0, 14.0]
