"""A devnet, a provider node as its own process, and a requester in this one."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from node.app.parties import requester
from node.app.sandbox import sandbox
from node.chain import interface
from node.config import load
from node.types import Address
from tests.chaos.harness.arena import Arena, arena
from tests.chaos.harness.nodes import Nodes, zygote
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
MODULE = "sdv-pipeline:v1.1-lilypad2"


class World:
    """One chain with a provider whose process a test starts and kills."""

    def __init__(self, box, directory: Path, profile: str) -> None:
        self.box = box
        self.directory = directory
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = box.settings("provider", directory / "node")
        settings["http"] = {"port": port, "public_url": self.url}
        settings["worker"] = {"profile": profile}
        settings["log"] = {"format": "json"}
        settings["chain"] |= {"poll_interval_s": 0.05, "resubmit_after_s": 5.0}
        settings["admission"] |= {"initial_job_s": 5.0}
        self.config_file = directory / "node.toml"
        lines = []
        for section, values in settings.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        self.config_file.write_text("\n".join(lines))
        self.log_file = directory / "node.log"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, **environment: str) -> None:
        """Start the node."""
        command = ["-m", "node.cli.main", "--config", str(self.config_file), "start"]
        with self.log_file.open("a") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={"PYTHONPATH": str(ROOT)} | environment,
            )

    async def death(self) -> int:
        """Wait until the node died by itself and return how."""
        return await self.process.wait()

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    @asynccontextmanager
    async def requester(self):
        settings = self.box.settings("requester", self.directory / "requester")
        settings["requester"] = {"gather_proposals_s": 0.0, "wait_for_proposals_s": 60.0}
        settings["requester"]["matching"] = "propose"
        settings["chain"] |= {"poll_interval_s": 0.05}
        async with requester(load(environment={}, overrides=settings), on_step=lambda step: None) as party:
            yield party

    async def get(self, path: str):
        """Return what the node's HTTP port answers: JSON, text, or None while it does not."""
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}{path}") as answer:
                return await (answer.json() if "json" in answer.content_type else answer.text())
        except aiohttp.ClientError:
            return None

    async def reached(self, job_id: str, phase: str) -> dict:
        """Wait until the job is in a phase, and return it."""
        while True:
            job = await self.get(f"/api/v1/jobs/{job_id}")
            if job is not None and job.get("phase") == phase:
                return job
            await asyncio.sleep(0.05)

    async def refuses_everything_because(self, reason: str) -> None:
        """Check that the node says why it takes nothing, and that it sends nothing for an offer."""
        async with asyncio.timeout(30):
            status = None
            while not (status and "accepting" in status):
                status = await self.get("/api/v1/status")
                await asyncio.sleep(0.05)
        assert status["accepting"] is False
        assert any(reason in told for told in status["not_accepting_because"])
        async with self.requester() as party, asyncio.timeout(60):
            posting = asyncio.create_task(party.request(MODULE, ("Prompt=a fox",)))
            while self.log_file.read_text().count("offer_waits") < 2:
                await asyncio.sleep(0.05)
            posting.cancel()
        assert await self.sent_by(self.box.address("provider")) == []

    async def sent_by(self, address: Address) -> list[tuple[str, str]]:
        """Return (function, deal id) of every mined controller call of an account, reverted ones included."""
        names = {
            interface.AGREE.selector: "agree",
            interface.ADD_RESULT.selector: "addResult",
            interface.TIMEOUT_AGREE.selector: "timeoutAgree",
        }
        found = []
        head = await self.box.market.chain.head()
        for number in range(head.number + 1):
            block = await self.box.market.rpc.call("eth_getBlockByNumber", [hex(number), True])
            for transaction in block["transactions"]:
                data = bytes.fromhex(transaction["input"][2:])
                if transaction["from"] == address and data[:4] in names:
                    offset = 4 + int.from_bytes(data[4:36])
                    length = int.from_bytes(data[offset : offset + 32])
                    deal_id = data[offset + 32 : offset + 32 + length].decode()
                    found.append((names[data[:4]], deal_id))
        return found


@asynccontextmanager
async def world(directory: Path, profile: str):
    async with sandbox(port=free_port(), block_time_s=None) as box:
        place = World(box, directory, profile)
        try:
            yield place
        finally:
            await place.kill()


@pytest.fixture
def make_world(tmp_path):
    return lambda profile: world(tmp_path, profile)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nodes() -> AsyncIterator[Nodes]:
    """Nodes that start in a fifth of a second; for tests with ``loop_scope="session"``."""
    async with zygote() as forked:
        yield forked


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_arena(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arena]:
    """One chain for many runs; ``rewind`` it before each."""
    async with arena(nodes, tmp_path_factory.mktemp("arena")) as place:
        yield place
