"""Helia for tests: the real thing in a Node.js process that is killed, with a deadline on each call."""

import asyncio
import json
import shutil
import subprocess
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

PACKAGE = Path(__file__).with_name("helia")
OLDEST_NODE_JS = 20
START_S = 60.0
CALL_S = 60.0
MAX_LINE_BYTES = 1 << 20


class HeliaError(Exception):
    """Helia refused a call, or has ended."""


class Helia:
    """One Helia node, which keeps its blocks in memory."""

    def __init__(self, process, log):
        self._process = process
        self._log = log
        self.address = ""

    async def call(self, name, *arguments):
        self._process.stdin.write(json.dumps([name, *map(str, arguments)]).encode() + b"\n")
        return await self.answer(CALL_S)

    async def answer(self, within_s):
        try:
            async with asyncio.timeout(within_s):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise HeliaError(f"no answer within {within_s:.0f} s; its log:\n{self._tail()}") from error
        if not line:
            raise HeliaError(f"it has ended; its log:\n{self._tail()}")
        answer = json.loads(line)
        if "error" in answer:
            raise HeliaError(answer["error"])
        return answer["result"]

    async def connect(self, address):
        await self.call("connect", address)

    async def add(self, directory):
        """Import what is in a directory, in Helia's own layout, and return the CID."""
        return await self.call("add", directory)

    async def download(self, cid, into):
        await self.call("download", cid, into)

    def _tail(self):
        return self._log.read_text(errors="replace")[-4000:]


def node_js():
    """Return the path of Node.js; the test fails if it is missing or too old, or Helia is not installed."""
    path = shutil.which("node")
    if path is None:
        pytest.fail(f"Helia needs Node.js {OLDEST_NODE_JS} or later: install it so that node is on PATH")
    asked = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True)
    version = asked.stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE_JS:
        pytest.fail(f"Helia needs Node.js {OLDEST_NODE_JS} or later, and {path} is {version}")
    # npm writes this file when everything else is in place.
    if not (PACKAGE / "node_modules" / ".package-lock.json").is_file():
        pytest.fail("Helia is not installed: run scripts/test, which installs it before the tests")
    return path


@asynccontextmanager
async def helia(directory):
    """Run a Helia node that listens on a loopback TCP port."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "helia.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            node_js(),
            str(PACKAGE / "peer.mjs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=MAX_LINE_BYTES,
        )
        try:
            node = Helia(process, log)
            (node.address,) = await node.answer(START_S)
            yield node
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
