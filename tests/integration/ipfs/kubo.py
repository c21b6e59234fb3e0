"""Kubo for tests: the real thing, in a child process that is killed, with a deadline on each call."""

import asyncio
import json
import socket
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.ports import free_port

CHILD = Path(__file__).with_name("kubo_child.py")
CALL_S = 60.0


class Kubo:
    """One Kubo node. Its library has one lock for all, so several fetchers are several of these."""

    def __init__(self, process, swarm):
        self._process = process
        self._lock = asyncio.Lock()
        self.swarm = swarm
        self.peer_id = ""

    async def call(self, name, *arguments, within_s=CALL_S):
        async with self._lock:
            self._process.stdin.write(json.dumps([name, *map(str, arguments)]).encode() + b"\n")
            return await self.next_line(within_s)

    async def next_line(self, within_s=CALL_S):
        async with asyncio.timeout(within_s):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("Kubo has ended")
        return json.loads(line)

    async def connect(self, address):
        assert await self.call("connect", address) == 0

    async def add(self, path):
        return await self.call("add", path)

    async def download(self, cid, into, within_s=CALL_S):
        assert await self.call("download", cid, into, within_s=within_s) == 0

    def address(self, transport="tcp"):
        """Return a loopback address with the peer id."""
        return f"{self.swarm[0 if transport == 'tcp' else 1]}/p2p/{self.peer_id}"


@asynccontextmanager
async def kubo(directory):
    """Run a Kubo node of its own repository and ports."""
    swarm = [
        f"/ip4/127.0.0.1/tcp/{free_port()}",
        f"/ip4/127.0.0.1/udp/{free_port(socket.SOCK_DGRAM)}/quic-v1",
    ]
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "kubo.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CHILD),
            str(directory / "repository"),
            *swarm,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=directory,  # the library writes a log of its own there
        )
        try:
            node = Kubo(process, swarm)
            node.peer_id = await node.next_line()
            yield node
        finally:
            # Kubo's runtime ignores a polite request to end.
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
