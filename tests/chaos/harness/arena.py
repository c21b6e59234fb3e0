"""One Anvil for many runs: each begins from the same block with a fresh provider directory.

The chain is wound back with ``evm_revert``, so a run sees job 1 again, whatever the runs before it did, and a
failure is repeated by its seed alone.
"""

import asyncio
import json
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from node.app.sandbox import Sandbox, sandbox
from node.chain.deploy import Artefacts
from node.chain.devnet import OUR_MARKET
from node.job.phase import Phase
from node.types import Address
from tests.chaos.harness.nodes import ForkedNode, Hook, Nodes
from tests.chaos.harness.nursery import WORKERS
from tests.ports import free_port
from tests.winding import renew, wind_back

STAGES = ("tests.chaos.harness.hooks:log_stages", "stages.log")
QUICK: dict[str, dict[str, Any]] = {
    "chain": {"poll_interval_s": 0.02, "resubmit_after_s": 5.0, "lookback_blocks": 200},
    "worker": {"profile": "fake:20", "stop_wait_s": 0},
    "log": {"format": "json", "level": "info"},
    "admission": {"initial_job_s": 1.0, "max_open_deals": 64, "max_open_proposals_per_requester": 64},
}


def toml(value: Any) -> str:
    """Return a setting's value as TOML, which is JSON but for tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


class Provider:
    """A provider's directory, the settings in it, and its node when it runs."""

    def __init__(self, nodes: Nodes, config: Path, url: str, address: Address) -> None:
        self.directory = config.parent
        self.config = config
        self.data = self.directory / "node"
        self.log = self.directory / "node.log"
        self.stages = self.directory / "stages.log"
        self.workers = self.directory / WORKERS
        self.url = url
        self.address = address
        self.starts = 0
        self.slowest_start_s = 0.0
        self._nodes = nodes
        self._node: ForkedNode | None = None

    @property
    def node(self) -> ForkedNode:
        if self._node is None:
            raise RuntimeError("the node was never started")
        return self._node

    async def start(self, *hooks: Hook, **environment: str) -> bool:
        """Start the node and wait until it is ready; False if it died before that."""
        began = time.monotonic()
        await self.launch(*hooks, **environment)
        ready = await self.node.ready()
        if ready:
            self.slowest_start_s = max(self.slowest_start_s, time.monotonic() - began)
        return ready

    async def launch(self, *hooks: Hook, **environment: str) -> ForkedNode:
        """Start the node without waiting for it."""
        self.starts += 1
        stages: Hook = (STAGES[0], [str(self.stages)])
        self._node = await self._nodes.start(self.config, self.log, hooks=[stages, *hooks], **environment)
        return self._node

    async def run(self, *command: str) -> int:
        """Run another command of ``sdv-node`` with this provider's settings; return its exit code."""
        return await (await self._nodes.start(self.config, self.log, command=command)).ended

    async def kill(self) -> None:
        if self._node is not None:
            await self._node.kill()

    async def status(self) -> dict[str, Any] | None:
        """Return the running node's status, None while it does not answer."""
        return await self._get("/api/v1/status")

    async def job(self, job_id: str) -> dict[str, Any] | None:
        """Return a job as the running node tells, None if it has no such job."""
        return await self._get(f"/api/v1/jobs/{job_id}")

    async def phases(self) -> dict[str, int]:
        """Return how many jobs are in each phase, as the running node tells."""
        status = await self.status()
        return dict(status["jobs"]["by_phase"]) if status else {}

    async def _get(self, path: str) -> dict[str, Any] | None:
        token = self.data / "http-token"
        headers = {"Authorization": f"Bearer {token.read_text().strip()}"} if token.exists() else {}
        try:
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.get(f"{self.url}{path}") as answer,
            ):
                return dict(await answer.json()) if answer.ok else None
        except aiohttp.ClientError:
            return None

    async def rest(self, *phases: str, jobs: int) -> None:
        """Wait until that many jobs are in these phases and no job is open."""
        while True:
            found = await self.phases()
            enough = sum(found.get(phase, 0) for phase in phases) >= jobs
            if enough and all(Phase(name).terminal for name in found):
                return
            if not self.node.alive:
                raise AssertionError(f"the node ended with {self.node.ended.result()}:\n{self.tail()}")
            await asyncio.sleep(0.03)

    def tail(self, lines: int = 30) -> str:
        """Return the end of the log, for a failing test's message."""
        return "\n".join(self.log.read_text().splitlines()[-lines:])

    def journal(self) -> sqlite3.Connection:
        """Open the journal of a node that is not running, for reading."""
        return sqlite3.connect(f"file:{self.data}/journal.sqlite?mode=ro", uri=True)


class Arena:
    """The chain, and providers on it one after another."""

    def __init__(self, box: Sandbox, nodes: Nodes, directory: Path, snapshot: str, tokens_wei: int) -> None:
        self.box = box
        self.market = box.market
        self.nodes = nodes
        self.directory = directory
        self.tokens_wei = tokens_wei
        """What the provider owns when a run begins."""
        self._sending = asyncio.Lock()
        self._snapshot = snapshot
        self._count = 0

    async def rewind(self) -> None:
        """Put the chain back to where the arena began and add a block; it mines each transaction at once."""
        self._snapshot = await wind_back(self.market.rpc, self._snapshot)
        await renew(self.market.rpc)

    def provider(self, *, role: str = "provider", **sections: dict[str, Any]) -> Provider:
        """Return a node with an empty directory and a party's key; ``sections`` change its settings."""
        self._count += 1
        directory = self.directory / f"run-{self._count}"
        settings: dict[str, dict[str, Any]] = self.box.settings(role, directory / "node")
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        settings["http"] = {"port": port, "public_url": url}
        for layer in (QUICK, sections):
            for section, values in layer.items():
                settings[section] = settings.get(section, {}) | values
        config = directory / "node.toml"
        lines = []
        for section, values in settings.items():
            lines += [f"[{section}]", *(f"{key} = {toml(value)}" for key, value in values.items())]
        config.write_text("\n".join(lines))
        return Provider(self.nodes, config, url, self.box.address(role))

    async def mine(self) -> None:
        """Mine a block; who is cancelled meanwhile waits for it, so that none comes after the run."""
        mining = asyncio.create_task(self.market.mine())
        try:
            await asyncio.shield(mining)
        except asyncio.CancelledError:
            await asyncio.wait([mining])
            raise

    async def pass_time(self, seconds: int) -> None:
        """Let chain time pass."""
        await self.market.rpc.call("evm_increaseTime", [hex(seconds)])
        await self.market.mine()

    async def send(self, sender: Address, call: Any) -> str:
        """Send a call from an unlocked development account and return its hash."""
        request = {"from": sender, "to": call.to, "data": "0x" + call.data.hex(), "gas": hex(3_000_000)}
        # Anvil gives two that come at once the same nonce.
        async with self._sending:
            return str(await self.market.rpc.call("eth_sendTransaction", [request]))

    @asynccontextmanager
    async def block_every(self, seconds: float) -> AsyncIterator[None]:
        """Have blocks come in a rhythm instead of with each transaction."""

        async def mine() -> None:
            while True:
                await asyncio.sleep(seconds)
                await self.mine()

        await self.market.rpc.call("evm_setAutomine", [False])
        mining = asyncio.create_task(mine())
        try:
            yield
        finally:
            mining.cancel()
            await asyncio.wait([mining])
            await self.market.rpc.call("evm_setAutomine", [True])

    def clear(self, *, keep: bool) -> None:
        """Remove the directories of the runs so far, or set them aside to be looked at."""
        for directory in self.directory.glob("run-*"):
            if keep:
                directory.rename(directory.with_name(directory.name.replace("run", "failed")))
            else:
                shutil.rmtree(directory)


@asynccontextmanager
async def arena(nodes: Nodes, directory: Path, artefacts: Artefacts = OUR_MARKET) -> AsyncIterator[Arena]:
    """Start a chain that mines each transaction at once, with these contracts on it."""
    async with sandbox(port=free_port(), block_time_s=None, artefacts=artefacts) as box:
        snapshot = await box.market.rpc.call("evm_snapshot", [])
        tokens_wei = await box.market.contracts.token_balance(box.address("provider"))
        yield Arena(box, nodes, directory, str(snapshot), tokens_wei)
