"""Nodes as processes that start in a few milliseconds: the asking side of the zygote."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
Hook = tuple[str, list[Any]]
"""A function called in the fork before the node runs: ``module:function`` and its arguments."""


class ForkedNode:
    """One running node. ``ended`` has its exit status: negative for a signal."""

    def __init__(self, pid: int, notified: socket.socket) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._notified = notified

    @property
    def alive(self) -> bool:
        return not self.ended.done()

    async def ready(self) -> bool:
        """Wait until the node tells its readiness; False if it ended before."""
        told = asyncio.create_task(self._told_ready())
        try:
            await asyncio.wait([told, self.ended], return_when=asyncio.FIRST_COMPLETED)
            return told.done()
        finally:
            told.cancel()

    async def _told_ready(self) -> None:
        loop = asyncio.get_running_loop()
        while b"READY=1" not in await loop.sock_recv(self._notified, 4096):
            pass

    async def kill(self) -> None:
        """SIGKILL, and wait until the kernel has buried it."""
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
        await self.ended

    async def stop(self) -> int:
        """SIGTERM, and return the exit status."""
        if self.alive:
            os.kill(self.pid, signal.SIGTERM)
        return await self.ended


class Nodes:
    """Starts nodes. Made by ``zygote``."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._running: dict[int, ForkedNode] = {}
        self._early: dict[int, int] = {}
        self._count = 0
        self.imported = asyncio.get_running_loop().create_future()

    async def start(
        self,
        config: Path,
        log: Path,
        *,
        hooks: Sequence[Hook] = (),
        command: Sequence[str] = ("start",),
        **environment: str,
    ) -> ForkedNode:
        """Fork a node for a settings file; its output is appended to ``log``."""
        self._count += 1
        # An abstract address: no path that could be too long, nothing to remove.
        address = f"\0sdv-chaos-{os.getpid()}-{id(self)}-{self._count}"
        notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notified.bind(address)
        notified.setblocking(False)
        order = {
            "order": self._count,
            "config": str(config),
            "log": str(log),
            "hooks": list(hooks),
            "command": list(command),
            "environment": {"NOTIFY_SOCKET": "@" + address[1:], **environment},
        }
        answer = self._waiting[self._count] = asyncio.get_running_loop().create_future()
        self._orders.sendall(json.dumps(order).encode() + b"\n")
        pid = await answer
        node = self._running[pid] = ForkedNode(pid, notified)
        node.ended.add_done_callback(lambda _: notified.close())
        if pid in self._early:
            self._bury(pid, self._early.pop(pid))
        return node

    async def listen(self) -> None:
        """Take what the zygote tells until it hangs up."""
        loop = asyncio.get_running_loop()
        waiting = b""
        while received := await loop.sock_recv(self._orders, 1 << 16):
            *lines, waiting = (waiting + received).split(b"\n")
            for line in lines:
                told = json.loads(line)
                if "ready" in told:
                    self.imported.set_result(None)
                elif "order" in told:
                    self._waiting.pop(told["order"]).set_result(told["pid"])
                elif told["pid"] in self._running:
                    self._bury(told["pid"], told["status"])
                else:
                    self._early[told["pid"]] = told["status"]

    def _bury(self, pid: int, status: int) -> None:
        node = self._running.pop(pid)
        if not node.ended.done():
            node.ended.set_result(status)


@asynccontextmanager
async def zygote() -> AsyncIterator[Nodes]:
    """Start the process that forks nodes; everything it forked dies with it."""
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.chaos.harness.zygote",
        str(theirs.fileno()),
        cwd=ROOT,
        env={name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        pass_fds=(theirs.fileno(),),
    )
    theirs.close()
    ours.setblocking(False)
    nodes = Nodes(ours)
    listening = asyncio.create_task(nodes.listen())
    try:
        await asyncio.wait([nodes.imported, listening], return_when=asyncio.FIRST_COMPLETED)
        if not nodes.imported.done():
            raise RuntimeError("the zygote did not start: see its output above")
        yield nodes
    finally:
        listening.cancel()
        ours.close()
        await process.wait()
