"""The HTTP port of a running node: its document is true of it, and strangers get nothing by any trick."""

import asyncio
import json
import sys

import aiohttp
import pytest

from node.requester.outcome import RunState
from tests.chaos.conftest import MODULE
from tests.chaos.harness.http_attack import attack
from tests.fakes.openapi import problems_of

pytestmark = [pytest.mark.chaos, pytest.mark.integration]


async def command(world, *words, **environment):
    """Run a command of ``sdv-node`` with the node's settings; return (exit code, stdout, stderr)."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "node.cli.main", "--config", str(world.config_file), *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment or None,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_running_nodes_port_is_as_its_document_says_and_tells_strangers_nothing(make_world):
    async with make_world("fake:0") as world, asyncio.timeout(300):
        settings = world.config_file.read_text().replace("[http]\n", '[http]\nlocal_user = "token"\n')
        world.config_file.write_text(settings)
        await world.start()
        async with world.requester() as party:
            run = await party.request(MODULE, ("Prompt=a fox that nobody else may read of",))
        assert run.state is RunState.PAID
        token_file = world.directory / "node" / "http-token"
        old = token_file.read_text().strip()

        public = await world.get("/api/v1/status")
        assert (public["view"], public["provider"]) == ("public", world.box.address("provider"))
        assert (await world.reached("j1", "PAID"))["view"] == "public"
        document = await world.get("/api/v1/openapi.json")
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {old}"}) as session:
            for headers in ({}, {"Authorization": ""}):
                for path in document["paths"]:
                    if "get" not in document["paths"][path] or "{cid}" in path or path.endswith("events"):
                        continue
                    where = path.replace("{job_id}", "j1").replace("{name}", "main.js")
                    async with session.get(world.url + where, headers=headers) as answer:
                        body = await answer.read()
                    assert problems_of(document, path, "get", answer.status, body) == []

        code, out, _ = await command(world, "status", "--json")
        assert (code, "wallet" in json.loads(out)) == (0, True)
        code, out, _ = await command(world, "dashboard", "--rotate", "--json")
        assert code == 0
        told = json.loads(out)
        async with aiohttp.ClientSession() as browser:
            for known in (True, False):
                async with browser.get(told["url"], allow_redirects=False) as answer:
                    assert (answer.status, answer.headers["Location"]) == (303, "/")
                    assert ("Set-Cookie" in answer.headers) is known
        new = token_file.read_text().strip()
        assert new not in told["url"]

        found = await attack(world.url, token_file, old, slow=50)
        assert found.broken == []
        assert found.asked > 300
        log = world.log_file.read_text()
        assert old not in log
        assert new not in log
        assert told["url"].partition("=")[2] not in log
