"""The chain goes away, or is another one than before."""

import asyncio
import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.chaos.conftest import MODULE, world

pytestmark = [pytest.mark.chaos, pytest.mark.integration]


def anvil_of(market):
    port = str(urlsplit(market.url).port)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"--port" in words and port.encode() in words and b"anvil" in words[0]:
                return int(entry.name)
    raise LookupError(port)


async def until(world, accept):
    while True:
        status = await world.get("/api/v1/status")
        if status and accept(status):
            return status
        await asyncio.sleep(0.05)


async def test_a_dead_endpoint_is_told_and_survived(make_world):
    async with make_world("fake:20") as place, asyncio.timeout(90):
        await place.start()
        await until(place, lambda status: status.get("accepting"))
        os.kill(anvil_of(place.box.market), signal.SIGKILL)
        status = await until(place, lambda status: not status["accepting"])
        assert status["chain"]["rpc_ok"] is False
        assert any("chain does not answer" in reason for reason in status["not_accepting_because"])
        assert (await place.get("/readyz"))["ok"] is False
        assert (await place.get("/livez"))["ok"] is True
        assert place.process.returncode is None


async def test_a_journal_of_another_chain_is_refused_before_anything_is_done(tmp_path):
    async with world(tmp_path, "fake:20") as first, asyncio.timeout(60):
        await first.start()
        await until(first, lambda status: status["chain"]["cursor"] is not None)
        await first.kill()
    async with world(tmp_path, "fake:20") as second, asyncio.timeout(60):
        await second.start()
        assert await second.death() == 2
        assert "belongs to another chain" in second.log_file.read_text()


async def test_why_an_offer_waits_is_shown_with_the_job(make_world):
    async with make_world("fake:20") as place, place.requester() as party, asyncio.timeout(60):
        text = place.config_file.read_text()
        place.config_file.write_text(text.replace("allow_toy_models = true", "allow_toy_models = false"))
        await place.start()
        posting = asyncio.create_task(party.request(MODULE, ("Prompt=a fox",)))
        job = await place.reached("j1", "SEEN")
        while not job["reason"]:
            job = await place.reached("j1", "SEEN")
        assert "toy models" in job["reason"]
        posting.cancel()


async def test_a_second_run_of_one_wallet_is_told_to_wait(make_world):
    from node.errors import Retryable

    async with make_world("fake:20") as place, place.requester():
        with pytest.raises(Retryable, match="another run of this wallet"):
            async with place.requester():
                pass
