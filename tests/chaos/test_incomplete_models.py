"""A profile whose weights are not complete is never offered."""

import asyncio

import pytest

from tests.chaos.conftest import MODULE

pytestmark = [pytest.mark.chaos, pytest.mark.integration]


async def test_a_node_without_its_weights_offers_nothing_and_says_what_to_pull(make_world):
    async with make_world("sdv-1.1") as world:
        await world.start()
        async with asyncio.timeout(30):
            status = None
            while not (status and "accepting" in status):
                status = await world.get("/api/v1/status")
                await asyncio.sleep(0.05)
        assert status["accepting"] is False
        assert any("models pull sdv-1.1" in reason for reason in status["not_accepting_because"])
        async with world.requester() as party, asyncio.timeout(60):
            posting = asyncio.create_task(party.request(MODULE, ("Prompt=a fox",)))
            while world.log_file.read_text().count("offer_waits") < 2:
                await asyncio.sleep(0.05)
            posting.cancel()
        assert await world.sent_by(world.box.address("provider")) == []
