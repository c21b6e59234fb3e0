"""The demo's stage: a devnet, a provider node and a requester in one process, each with its own data."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from node.app.assembly import Assembly
from node.app.node import RunningNode, run_node
from node.app.parties import requester
from node.app.sandbox import Sandbox, sandbox
from node.config import load
from node.errors import Fatal, NodeError
from node.job.job import job_id_for
from node.job.transactions import TxRow
from node.journal.database import Database, take_lock
from node.journal.transactions import TransactionLog
from node.requester.outcome import Outcome
from node.requester.steps import OnStep
from node.web.app import listen

SETTLE_TIMEOUT_S = 60.0
_KEPT = frozenset({"models", "cache"})
"""Folders of a party that no chain has to do with."""


class Demonstration:
    """An async context manager: inside it the node runs and jobs can be requested.

    Every demonstration begins with a fresh chain, so the last one's journals are removed; models are kept.
    """

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._say = say
        self._stack = AsyncExitStack()
        self._shutdown = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._running: asyncio.Task[None] | None = None
        self._sandbox: Sandbox | None = None
        self._node: RunningNode | None = None
        self._wishes: dict[str, Any] = {}
        self.symbol = "tokens"
        self.log_file = directory / "node.log"

    @property
    def node(self) -> RunningNode:
        """The running node."""
        if self._node is None:
            raise Fatal("the demonstration's node is not running")
        return self._node

    async def __aenter__(self) -> Self:
        try:
            self._clear()
            self._sandbox = await self._stack.enter_async_context(sandbox())
            self._say(f"market deployed, chain at {self._sandbox.market.url}")
            self.symbol = await self._sandbox.market.contracts.token_symbol()
            await self._start_node(self._sandbox)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shutdown.set()
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            await self._stack.aclose()

    def _clear(self) -> None:
        # The lock first: a demonstration that still runs must not lose what it works on.
        self._stack.enter_context(take_lock(self._directory))
        for party in ("node", "requester", "mediator"):
            folder = self._directory / party
            for entry in folder.iterdir() if folder.is_dir() else ():
                if entry.is_dir() and entry.name not in _KEPT:
                    shutil.rmtree(entry, ignore_errors=True)
                elif entry.name.startswith("journal.sqlite"):
                    entry.unlink()

    async def _start_node(self, box: Sandbox) -> None:
        self._node, self._running = await self._start(box, "provider", "node")

    async def _start(
        self,
        box: Sandbox,
        role: str,
        folder: str,
        prepare: Callable[[Assembly], None] = lambda _: None,
        **sections: dict[str, Any],
    ) -> tuple[RunningNode, "asyncio.Task[None]"]:
        """Start a node with a party's key; it runs until the demonstration ends."""
        probe = listen("127.0.0.1", 0)
        probe.socket.close()
        settings = box.settings(role, self._directory / folder)
        settings["http"] = {"port": probe.port, "public_url": probe.url}
        for section, values in sections.items():
            settings[section] = settings.get(section, {}) | values
        config = load(environment={}, overrides=settings)
        ready: asyncio.Future[RunningNode] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(
            run_node(config, shutdown=self._shutdown, on_ready=ready.set_result, prepare=prepare),
            name=f"demonstration: {role}",
        )
        self._tasks.append(running)
        await _while_running(running, ready)
        return ready.result(), running

    async def worker_ready(self) -> None:
        """Wait until the models are loaded."""
        await self._while_running(asyncio.ensure_future(self.node.pool.wait_ready()))

    async def request(self, module: str, inputs: tuple[str, ...], *, on_step: OnStep) -> Outcome:
        """Post a job as the requester and carry it through."""
        if self._sandbox is None:
            raise Fatal("the demonstration has no chain")
        settings = self._sandbox.settings("requester", self._directory / "requester")
        settings["requester"] = {"gather_proposals_s": 0.1, "matching": "propose", **self._wishes}
        config = load(environment={}, overrides=settings)
        async with requester(config, on_step=on_step) as party:
            running = asyncio.ensure_future(party.request(module, inputs))
            await self._while_running(running)
            return running.result()

    async def phases(self) -> AsyncIterator[str]:
        """Yield the phases of the node's job as they change."""
        async for news in self.node.snapshot.subscribe():
            if news["type"] == "job":
                yield news["data"]["phase"]

    async def settled(self, number: int) -> None:
        """Wait until the node has seen its payment confirmed. Raises NodeError if it does not come."""
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                while True:
                    job = await self.node.snapshot.job(job_id_for(number))
                    if job is not None and job["terminal"]:
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError as late:
            raise NodeError(f"the node did not see its payment within {SETTLE_TIMEOUT_S:.0f} s") from late

    async def document(self, outcome: Outcome) -> dict[str, Any]:
        """Return the result for programs."""
        job = await self.node.snapshot.job(job_id_for(outcome.job_number)) or {}
        gas = {
            "provider": sum(tx["gas_used"] for tx in job.get("transactions", [])),
            "requester": sum(row.gas_used for row in await self._requester_transactions()),
        }
        folder = outcome.directory
        return {
            "deal_id": outcome.deal_id,
            "job_id": job_id_for(outcome.job_number),
            "phase": job.get("phase"),
            "cid": outcome.cid,
            "outputs": [str(folder / output["path"]) for output in job.get("outputs", [])] if folder else [],
            "paid_wei": str(outcome.paid_wei),
            "gas_used": gas["provider"] + gas["requester"],
            "gas": gas,
            "class": job.get("determinism_class"),
        }

    async def _requester_transactions(self) -> list[TxRow]:
        database = Database(self._directory / "requester" / "requester")
        try:
            return await TransactionLog(database).settled_rows()
        finally:
            database.close()

    async def _while_running(self, wait: "asyncio.Future[Any]") -> None:
        if self._running is None:
            raise Fatal("the demonstration's node is not running")
        await _while_running(self._running, wait)


async def _while_running(node: "asyncio.Task[None]", wait: "asyncio.Future[Any]") -> None:
    """Wait for what only a running node can bring about; if it stops, its error is raised."""
    try:
        await asyncio.wait({wait, node}, return_when=asyncio.FIRST_COMPLETED)
        if not wait.done():
            node.result()
            raise Fatal("the demonstration's node stopped")
    finally:
        if not wait.done():
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)
