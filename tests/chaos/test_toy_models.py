"""Toy models are never sold as real ones by accident."""

import pytest

pytestmark = [pytest.mark.chaos, pytest.mark.integration]


async def test_a_node_with_toy_models_offers_nothing_unless_told_that_the_market_is_private(make_world):
    async with make_world("fake:20") as world:
        text = world.config_file.read_text()
        world.config_file.write_text(text.replace("allow_toy_models = true", "allow_toy_models = false"))
        await world.start()
        await world.refuses_everything_because("toy models")
