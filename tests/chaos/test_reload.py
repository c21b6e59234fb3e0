"""Prices changed while the node runs: what is agreed keeps its terms, what comes next costs the new price."""

import asyncio
import json
import signal
import sys

import pytest

from node.app.control import CommandFailed, ask_running_node
from node.app.reloading import RELOAD
from node.requester.outcome import RunState
from tests.chaos.conftest import MODULE, ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.integration]
TOKEN = 10**18


async def offered(world, different_from=None):
    """Wait for a published offer, and return its CID and the price it has."""
    while True:
        status = await world.get("/api/v1/status") or {}
        offer = status.get("offer") or {}
        if offer.get("state") == "published" and offer["cid"] != different_from:
            document = await world.get(f"/ipfs/{offer['cid']}")
            return offer["cid"], json.loads(document) if isinstance(document, str) else document
        await asyncio.sleep(0.05)


async def cli(world, *words):
    """Return what a command prints beside the running node."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "node.cli.main", "--config", str(world.config_file), *words),
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert out, err
    return out.decode()


async def test_a_running_node_takes_over_prices_and_jobs_keep_what_was_agreed(make_world):
    async with make_world("fake:1000") as world, asyncio.timeout(420):
        settings = world.config_file.read_text()
        await world.start()
        first_cid, document = await offered(world)
        assert "per_job" in json.dumps(document)
        async with world.requester() as party:
            first = asyncio.create_task(party.request(MODULE, ("Prompt=a fox",)))
            await world.reached("j1", "RENDERING")

            world.config_file.write_text(settings + '\n[pricing]\nper_job = "much"\nfloor = "-1"\n')
            with pytest.raises(
                CommandFailed, match=r"(?s)nothing was changed.*per_job.*node.toml:\d+"
            ) as refused:
                await ask_running_node(world.directory / "node", RELOAD)
            assert refused.value.exit_code == 2

            changed = settings + '\n[pricing]\nper_job = "3"\n'
            world.config_file.write_text(changed + "[gpu]\npoll_interval_s = 9.0\n")
            answer = await ask_running_node(world.directory / "node", RELOAD)
            assert [each["key"] for each in answer["changed"]] == ["pricing.per_job"]
            assert answer["waiting_for_restart"] == ["gpu.poll_interval_s"]
            assert (await world.get("/api/v1/status"))["price_wei"] == str(3 * TOKEN)

            outcome = await first
            assert outcome.state is RunState.PAID
            second = asyncio.create_task(party.request(MODULE, ("Prompt=an owl",)))
            job = await world.reached("j2", "PAID")
            assert (await second).state is RunState.PAID
            paid = [(await world.get(f"/api/v1/jobs/{job_id}"))["paid_wei"] for job_id in ("j1", "j2")]
            assert [int(each) for each in paid] == [TOKEN, 3 * TOKEN]
            assert int(job["price_wei"]) == 3 * TOKEN

        _, renewed = await offered(world, different_from=first_cid)
        assert renewed != document

        checks = {each["name"]: each for each in json.loads(await cli(world, "doctor", "--quick", "--json"))}
        assert "through the gateway" in checks["store"]["finding"]
        assert "what this version ships" in checks["contracts"]["finding"]
        assert [checks[name]["verdict"] for name in ("port", "public url", "time")] == ["ok"] * 3
        shown = await cli(world, "top", "--once")
        assert "j2    paid" in shown
        assert "reload" not in shown

        world.config_file.write_text(changed + "[no_such_section]\nkey = 1\n")
        world.process.send_signal(signal.SIGHUP)
        while "reload_refused" not in world.log_file.read_text():
            await asyncio.sleep(0.05)
        world.config_file.write_text(changed.replace('per_job = "3"', 'per_job = "4"'))
        world.process.send_signal(signal.SIGHUP)
        while (await world.get("/api/v1/status"))["price_wei"] != str(4 * TOKEN):
            await asyncio.sleep(0.05)
        assert "reload_refused" in await cli(world, "top", "--once")
        assert "nothing that can be taken over" in await cli(world, "reload")
