"""``sdv-node clean`` beside a running node, through its control socket, and without one."""

import asyncio
import json

import pytest

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.kills import attended

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
A_SECOND = 1 / 86_400


async def clean(provider, *options):
    """Run the command and return what it told."""
    before = len(provider.log.read_text())
    assert await provider.run("clean", "--json", *options) == 0
    told = provider.log.read_text()[before:]
    return json.loads(told[told.index("{\n") :].partition("\n}")[0] + "}")


def pins(provider):
    return {path.name for path in (provider.data / "ipfs" / "pins").iterdir()}


async def test_the_command_has_a_running_node_clean_and_cleans_by_itself_without_one(shared_arena: Arena):
    await shared_arena.rewind()
    provider = shared_arena.provider(
        chain={"finality_blocks": 2, "confirmations": 0},
        ipfs={"keep_days": A_SECOND},
        market={"matching": "both"},
    )
    crowd = Crowd(shared_arena, pulse=True)
    async with attended(shared_arena, crowd, provider):
        await provider.start()
        await crowd.post(["kept for a second", "kept for a second, too"])
        await provider.rest("PAID", jobs=2)
        # A quiet chain's cursor is written down now and then, and what is final is known from it.
        while (would := await clean(provider, "--dry-run"))["jobs_let_go"] < 2:
            await asyncio.sleep(0.5)
        assert {one["job_id"] for one in would["let_go"]} == {"j1", "j2"}
        assert {"j1", "j2"} <= pins(provider)
        done = await clean(provider)
        assert {one["why"] for one in done["let_go"]} == {"age"}
        assert done["freed_bytes"] == would["freed_bytes"] > 0
        assert not {"j1", "j2"} & pins(provider)
        assert "offer-document" in pins(provider)
        assert list((provider.data / "jobs").iterdir()) == []
        await provider.node.stop()
        again = await clean(provider)
    assert (again["jobs_let_go"], again["kept_jobs"]) == (0, 0)
