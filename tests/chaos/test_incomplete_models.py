"""A profile whose weights are not complete is never offered."""

import pytest

pytestmark = [pytest.mark.chaos, pytest.mark.integration]


async def test_a_node_without_its_weights_offers_nothing_and_says_what_to_pull(make_world):
    async with make_world("sdv-1.1") as world:
        await world.start()
        await world.refuses_everything_because("models pull sdv-1.1")
