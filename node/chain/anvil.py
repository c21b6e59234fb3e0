"""The Anvil process of a development network: found, started, watched, always stopped.

Runs the native binary in its own process group (the npm wrapper would leave it behind when killed) and lets
the kernel end it if this process dies. What is deployed on it is the business of ``devnet``.
"""

import asyncio
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import IO

import tenacity

from node.chain.client import Chain
from node.chain.rpc import Rpc
from node.errors import Fatal, Misconfigured, Unreachable
from node.resources import data_path

_HOST = "127.0.0.1"
_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0

# Runs between fork and Anvil, because prctl acts on the calling process and survives exec.
_DIE_WITH_PARENT = (
    "import ctypes,os,signal,sys\n"
    "ctypes.CDLL(None).prctl(1,signal.SIGTERM,0,0,0)\n"
    "if os.getppid()!=int(sys.argv[1]):os._exit(1)\n"
    "os.execv(sys.argv[2],sys.argv[2:])\n"
)


def find_anvil() -> Path:
    """Return the native Anvil binary of the npm package, or the one on PATH; raises Misconfigured."""
    system = {"linux": "linux", "darwin": "darwin"}.get(sys.platform, sys.platform)
    machine = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    try:
        return data_path(f"node_modules/@foundry-rs/anvil-{system}-{machine}/bin/anvil")
    except Fatal:
        on_path = shutil.which("anvil")
    if on_path is None:
        raise Misconfigured(
            "Anvil not found: run scripts/install in the source tree, or put Foundry's anvil on PATH"
        )
    return Path(on_path)


class Anvil:
    """One Anvil process; ``start`` it, use ``url``, and ``stop`` it whatever happens."""

    def __init__(self, *, port: int = 0, chain_id: int = 31337, state_file: Path | None = None) -> None:
        self._port = port
        self._chain_id = chain_id
        self._state_file = state_file
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """The endpoint's address; valid after ``start``."""
        return f"http://{_HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """The process id."""
        if self._process is None:
            raise Fatal("Anvil is not running")
        return self._process.pid

    async def start(self) -> None:
        """Start and return when the endpoint answers.

        Raises Misconfigured if the port is taken or Anvil cannot run; nothing is left running then.
        """
        self._port = _free_port(self._port)
        if self._state_file is not None:
            self._state_file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile() as output:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    process_group=0,
                )
                await self._answers(self._process, output)
            except BaseException:
                await self.stop()
                raise

    async def stop(self) -> None:
        """Ask Anvil to write its state and go, make it go if it does not, and reap it."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            await asyncio.shield(asyncio.ensure_future(_end(process)))

    def _command(self) -> list[str]:
        command = [str(find_anvil()), "--host", _HOST, "--port", str(self._port), "--silent"]
        command += ["--chain-id", str(self._chain_id), "--hardfork", "cancun"]
        if self._state_file is not None:
            command += ["--state", str(self._state_file)]
        if platform.system() == "Linux":
            return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
        return command

    async def _answers(self, process: asyncio.subprocess.Process, output: IO[bytes]) -> None:
        rpc = Rpc(self.url)

        async def ask() -> None:
            if process.returncode is not None:
                output.seek(0)
                said = output.read()[-500:].decode("utf-8", "replace").strip() or "it said nothing"
                raise Misconfigured(f"Anvil ended with status {process.returncode}: {said}")
            if await Chain(rpc).chain_id() != self._chain_id:
                raise Misconfigured(f"{self.url} is served by another chain: choose another port")

        waiting = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Unreachable),
            wait=tenacity.wait_fixed(0.03),
            stop=tenacity.stop_after_delay(_START_TIMEOUT_S),
            reraise=True,
        )
        try:
            await waiting(ask)
        finally:
            await rpc.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port(port: int) -> int:
    """Return ``port`` if it can be bound, or a free one for 0; raises Misconfigured."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise Misconfigured(
                f"port {port} on {_HOST} cannot be used ({error.strerror}): choose another port"
            ) from error
        bound: int = probe.getsockname()[1]
        return bound
