"""The node as a service: readiness told to the service manager, and an orderly end."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from node.app.sandbox import DEV_PASSWORD
from node.chain.devnet import PROVIDER, dev_key
from node.requester.outcome import RunState
from tests.chaos.conftest import MODULE

pytestmark = [pytest.mark.chaos, pytest.mark.integration]


async def test_readiness_is_told_when_the_node_answers_and_sigterm_ends_it_in_order(make_world, tmp_path):
    async with make_world("fake:20") as world, asyncio.timeout(60):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            address = str(tmp_path / "notify")
            manager.bind(address)
            manager.setblocking(False)
            await world.start(NOTIFY_SOCKET=address)
            loop = asyncio.get_running_loop()
            assert b"READY=1" in await loop.sock_recv(manager, 4096)
            health = await world.get("/livez")
            assert health["ok"] is True
            world.process.send_signal(signal.SIGTERM)
            assert b"STOPPING=1" in await loop.sock_recv(manager, 4096)
            assert await world.death() == 0


async def test_the_password_of_the_keystore_comes_from_the_service_managers_credential(make_world):
    async with make_world("fake:20") as world, asyncio.timeout(90):
        settings = world.config_file.read_text().splitlines()
        (named,) = [line for line in settings if line.startswith("password_file = ")]
        world.config_file.write_text("\n".join(line for line in settings if line != named))
        await world.start()
        assert await world.death() == 2
        assert "wallet.password_file" in world.log_file.read_text()

        credentials = world.directory / "credentials"
        credentials.mkdir()
        file = credentials / "keystore-password"
        file.write_text(Path(json.loads(named.partition(" = ")[2])).read_text())
        # systemd lets its service read by an access list, which shows as a bit of the group.
        file.chmod(0o440)
        await world.start(CREDENTIALS_DIRECTORY=str(credentials))
        async with world.requester() as party:
            outcome = await party.request(MODULE, ("Prompt=a fox",))
        assert outcome.state is RunState.PAID
        sent = await world.sent_by(world.box.address("provider"))
        assert [name for name, _ in sent] == ["agree", "addResult"]


async def test_a_worker_that_is_killed_is_replaced_and_counted(make_world):
    async with make_world("fake:20") as world, asyncio.timeout(90):
        await world.start()
        first = None
        while not first:
            status = await world.get("/api/v1/status")
            first = (status or {}).get("worker", {}).get("pid")
            await asyncio.sleep(0.05)
        os.kill(first, signal.SIGKILL)
        while True:
            worker = (await world.get("/api/v1/status"))["worker"]
            if worker["ready"] and worker["pid"] not in {None, first}:
                break
            await asyncio.sleep(0.05)
        assert worker["replacements"] == 1


async def test_no_secret_reaches_the_workers_environment_the_log_or_the_http_port(make_world):
    async with make_world("fake:20") as world, asyncio.timeout(90):
        await world.start(SDV_TEST_SECRET="do-not-pass-on")
        status = None
        while not (status and status["worker"]["pid"]):
            status = await world.get("/api/v1/status")
            await asyncio.sleep(0.05)
        worker = Path(f"/proc/{status['worker']['pid']}")
        seen = [
            (worker / "environ").read_bytes().decode(errors="replace"),
            (worker / "cmdline").read_bytes().decode(errors="replace"),
            world.log_file.read_text(),
            str(status),
            await world.get("/metrics"),
        ]
        for text in seen:
            assert dev_key(PROVIDER).hex() not in text
            assert f"{DEV_PASSWORD}\x00" not in text
        assert "do-not-pass-on" not in seen[0]
