"""Workers of a forked node: forked too, by a small process beside the node that has no threads.

The node's own code starts a worker with ``asyncio.create_subprocess_exec``; here that call asks the nursery,
which forks and runs ``node.worker.child`` with the arguments, the environment and the stderr it was given.
The socket, the protocol, the deadlines and the signals are the real ones. Worker and nursery die with the
node. What a forked worker was given shows in no /proc, so each request is written down beside the node's log.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

_EXITED = 1
"""Told as the exit code of every worker: how it went is known to the nursery alone."""

WORKERS = "workers.log"
"""The file with the arguments and the environment of each worker, one a line."""


def open_here(directory: Path) -> None:
    """Fork the nursery off this process, before it has threads, and have workers come from it.

    What they are given is written to ``WORKERS`` in the directory.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    node = os.getpid()
    if os.fork() == 0:
        ours.close()
        _serve(theirs, node)
    theirs.close()

    async def start(*command: str, env: dict[str, str], cwd: Any, **_: Any) -> "ForkedWorker":
        arguments = list(command)[list(command).index("node.worker.child") + 1 :]
        out, into = os.pipe()
        request = json.dumps({"arguments": arguments, "environment": env, "cwd": str(cwd)}).encode()
        with (directory / WORKERS).open("ab") as told:
            told.write(request + b"\n")
        socket.send_fds(ours, [request], [into])
        os.close(into)
        pid = int(ours.recv(64))
        stderr = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(stderr)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(out, "rb"))
        return ForkedWorker(pid, stderr)

    asyncio.create_subprocess_exec = start  # type: ignore[assignment]


class ForkedWorker:
    """What ``WorkerProcess`` uses of ``asyncio.subprocess.Process``."""

    def __init__(self, pid: int, stderr: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stderr = stderr
        self.returncode: int | None = None
        self._gone = asyncio.Event()
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._end()
        else:
            loop = asyncio.get_running_loop()
            loop.add_reader(pidfd, lambda: (loop.remove_reader(pidfd), os.close(pidfd), self._end()))

    def _end(self) -> None:
        self.returncode = _EXITED
        self._gone.set()

    async def wait(self) -> int:
        await self._gone.wait()
        return _EXITED

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)


def _serve(requests: socket.socket, node: int) -> None:
    from node.worker.child import die_with

    die_with(node)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1 << 16, 1)
        if not message:
            os._exit(0)
        nursery = os.getpid()
        pid = os.fork()
        if pid == 0:
            requests.close()
            _become_worker(json.loads(message), descriptors[0], nursery)
        os.close(descriptors[0])
        requests.send(str(pid).encode())


def _become_worker(request: dict[str, Any], stderr: int, nursery: int) -> None:
    from node.worker.child import main

    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["cwd"])
        arguments = request["arguments"]
        # The worker's parent is the nursery, which dies with the node that stands in the request.
        arguments[arguments.index("--parent") + 1] = str(nursery)
        sys.argv = ["node.worker.child", *arguments]
        main()
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            os.write(2, f"{end.code}\n".encode())
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - told to the node like a traceback would be
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    os._exit(code)
