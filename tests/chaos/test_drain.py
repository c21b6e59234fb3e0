"""Draining while jobs are in flight: they are delivered and nothing is taken, whatever happens meanwhile."""

import asyncio

import pytest

from node.app.control import ask_running_node
from node.app.drain import DRAIN, LOOK, RESUME
from node.requester.outcome import RunState
from tests.chaos.conftest import MODULE

pytestmark = [pytest.mark.chaos, pytest.mark.integration]


async def told(world, verb):
    while (answer := await ask_running_node(world.directory / "node", verb)) is None:
        await asyncio.sleep(0.05)
    return answer


async def test_a_job_in_flight_is_delivered_and_the_next_one_waits_until_the_node_is_resumed(make_world):
    async with make_world("fake:1000") as world, asyncio.timeout(120):
        await world.start()
        async with world.requester() as party:
            first = asyncio.create_task(party.request(MODULE, ("Prompt=a fox",)))
            await world.reached("j1", "RENDERING")
            answer = await told(world, DRAIN)
            assert (answer["draining"], answer["jobs"]) == (True, ["j1"])
            # A power cut in the middle changes nothing about it.
            await world.kill()
            await world.start()
            assert (await first).state is RunState.PAID
            assert (await told(world, LOOK))["undelivered"] == 0
            second = asyncio.create_task(party.request(MODULE, ("Prompt=an owl",)))
            while "the node is draining" not in str((await world.get("/api/v1/jobs/j2") or {}).get("reason")):
                await asyncio.sleep(0.05)
            status = await world.get("/api/v1/status")
            assert status["draining"] is True
            assert any("sdv-node resume" in reason for reason in status["not_accepting_because"])
            assert (await told(world, RESUME))["was_draining"] is True
            await world.reached("j2", "RENDERING")
            second.cancel()
            await asyncio.wait([second])
