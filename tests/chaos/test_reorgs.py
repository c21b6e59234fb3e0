"""T5: whatever a reorganisation drops, at any depth below finality, nothing is done twice and all is paid."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli.main import cli
from tests.chaos.harness.arena import arena
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.nodes import Nodes
from tests.chaos.harness.random_reorgs import DEALS, random_reorganisations
from tests.chaos.harness.reorgs import DEPTHS, Variant, reorganise
from tests.chaos.harness.requester import Event
from tests.winding import drop_blocks

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.mark.parametrize("variant", Variant)
@pytest.mark.parametrize("event", Event)
async def test_a_deal_comes_to_its_end_when_an_event_is_dropped_at_any_depth(
    nodes: Nodes, tmp_path: Path, event: Event, variant: Variant
):
    async with arena(nodes, tmp_path) as place:
        found = await reorganise(place, event, variant, seed=5)
    assert not found.broken
    assert found.deals >= len(DEPTHS)


async def test_deeper_than_finality_the_node_halts_and_stays_so_until_a_person_has_looked(
    nodes: Nodes, tmp_path: Path
):
    async with arena(nodes, tmp_path) as place, asyncio.timeout(60):
        rpc = place.market.rpc
        provider = place.provider(chain={"confirmations": 1, "finality_blocks": 6})
        await provider.start()
        crowd = Crowd(place)
        before = (await place.market.chain.head()).number
        await crowd.post(["an offer in a block that goes"])
        await rpc.call("anvil_mine", [hex(1)])
        while not await provider.job("j1"):
            await asyncio.sleep(0.02)
        await rpc.call("anvil_mine", [hex(8)])
        head = (await place.market.chain.head()).number
        while (await provider.status())["chain"]["cursor"] < head - 1:
            await asyncio.sleep(0.02)
        await drop_blocks(rpc, above=before)
        assert await provider.node.ended != 0
        assert "finality_blocks" in provider.tail()
        assert not await provider.start(), "a restart does not go on by itself"
        assert "sdv-node resume" in provider.tail()
        command = ["--config", str(provider.config), "resume", "--yes", "--json"]
        done = await asyncio.to_thread(CliRunner().invoke, cli, command)
        assert json.loads(done.output)["cleared"] == 1
        assert await provider.start()
        await provider.kill()


@pytest.mark.parametrize("hires", [False, True])
async def test_random_reorganisations_of_random_depth_do_no_harm(nodes: Nodes, tmp_path: Path, hires: bool):
    async with arena(nodes, tmp_path) as place:
        found = await random_reorganisations(place, seed=7, hires=hires)
    assert not found.broken
    assert found.reorganisations > 0
    assert found.read == DEALS
