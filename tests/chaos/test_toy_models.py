"""Toy models are never sold as real ones by accident."""

import asyncio

import pytest

from tests.chaos.conftest import MODULE

pytestmark = [pytest.mark.chaos, pytest.mark.integration]


async def test_a_node_with_toy_models_offers_nothing_unless_told_that_the_market_is_private(make_world):
    async with make_world("fake:20") as world:
        text = world.config_file.read_text()
        world.config_file.write_text(text.replace("allow_toy_models = true", "allow_toy_models = false"))
        await world.start()
        async with asyncio.timeout(30):
            status = None
            while not (status and "accepting" in status):
                status = await world.get("/api/v1/status")
                await asyncio.sleep(0.05)
        assert status["accepting"] is False
        assert any("toy models" in reason for reason in status["not_accepting_because"])
        async with world.requester() as party, asyncio.timeout(60):
            posting = asyncio.create_task(party.request(MODULE, ("Prompt=a fox",)))
            while world.log_file.read_text().count("offer_waits") < 2:
                await asyncio.sleep(0.05)
            posting.cancel()
        assert await world.sent_by(world.box.address("provider")) == []
