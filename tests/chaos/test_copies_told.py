"""Where a result is kept and was read back is told alike by the API, the commands and the journal alone."""

import asyncio
import contextlib
import io
import json

import pytest

from node.cli.main import cli
from tests.chaos.harness.arena import Arena
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.kills import attended
from tests.chaos.harness.targets import HURRY
from tests.fakes.ipfs_services import FakeKubo, serving

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def command(provider, *words: str) -> str:
    """Return what ``sdv-node`` prints for this node's settings, run in this process on another thread."""

    def run() -> str:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            cli.main(("--config", str(provider.config), *words), standalone_mode=False)
        return out.getvalue()

    return await asyncio.to_thread(run)


async def test_a_node_that_waits_for_a_target_stops_when_told_to_and_goes_on_afterwards(shared_arena: Arena):
    await shared_arena.rewind()
    async with serving(FakeKubo()) as kubo:
        kubo.fault = "slow"
        settings = {"copies_required": 2, "kubo": {"api": kubo.url}}
        provider = shared_arena.provider(worker={"profile": "fake:20"}, ipfs=settings)
        crowd = Crowd(shared_arena)
        async with attended(shared_arena, crowd, provider):
            await provider.start(HURRY)
            await crowd.post(["size:1000000 a fox"])
            while not kubo.received_bytes:
                await asyncio.sleep(0.02)
            async with asyncio.timeout(20):
                assert await provider.node.stop() == 0
            assert not kubo.pinned
            kubo.fault = ""
            await provider.start(HURRY)
            await provider.rest("PAID", jobs=1)
    assert len(kubo.pinned) == 1


async def test_where_a_result_is_and_was_read_is_told_with_and_without_the_node(shared_arena: Arena):
    await shared_arena.rewind()
    async with serving(FakeKubo()) as kubo, serving(FakeKubo()) as down:
        down.fault = "down"
        kubos = [{"name": "up", "api": kubo.url}, {"name": "down", "api": down.url}]
        settings = {"copies_required": 2, "kubo": kubos}
        provider = shared_arena.provider(worker={"profile": "fake:20"}, ipfs=settings)
        crowd = Crowd(shared_arena)
        async with attended(shared_arena, crowd, provider):
            await provider.start(HURRY)
            await crowd.post(["a fox"])
            await provider.rest("PAID", jobs=1)
            running = json.loads(await command(provider, "jobs", "show", "j1", "--json"))["copies"]
            shown = await command(provider, "jobs", "show", "j1")
            status = await command(provider, "status")
            await provider.kill()
            alone = json.loads(await command(provider, "jobs", "show", "j1", "--json"))
    told = {copy["place"]: copy for copy in running}
    assert {place: copy["awaited"] for place, copy in told.items()} == {
        "node": False,
        "up": False,
        "down": True,
    }
    # Without a node there is nobody to go on with what is missing.
    assert [copy | {"awaited": None} for copy in running] == alone["copies"]
    assert set(told) == {"node", "up", "down"}
    for place in ("node", "up"):
        assert told[place]["stored_at"] <= told[place]["read_at"]
    assert (told["down"]["stored_at"], told["down"]["read_at"]) == (None, None)
    assert "broke off" in told["down"]["problem"]
    assert "kept by node, up; read back from node, up" in shown
    assert "waiting" in shown
    assert "down (kubo)" in status
    assert "1 waiting" in status
    (published,) = [step for step in alone["timeline"] if step["event"] == "Published"]
    assert published["detail"].startswith(alone["cid"])
