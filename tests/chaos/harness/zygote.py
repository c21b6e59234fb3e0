"""A process that has imported the whole node and forks one for each start.

    python -m tests.chaos.harness.zygote FD

One JSON line on the inherited socket orders a start; a line comes back with the pid at once and another with
the exit status when that node is gone. The zygote has no threads and no event loop, so what it forks is as a
fresh interpreter is after its imports, a second earlier. Each node is killed by real signals, and dies with
the zygote.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

PRELOADED = (
    "aiohttp",
    "hypercorn.asyncio",
    "node.app.node",
    "node.cli.main",
    "node.cli.start",
    "node.observe.logging",
    "node.publisher.p2p.service",
    "node.publisher.targets.kubo",
    "node.worker.child",
    "tests.chaos.harness.hooks",
    "tests.chaos.harness.nursery",
)


def serve(orders: socket.socket) -> None:
    """Fork on order and tell of deaths until the other end hangs up."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    orders.sendall(b'{"ready": true}\n')
    children: dict[int, int] = {}
    waiting = b""
    while True:
        readable, _, _ = select.select([orders, *children], [], [])
        for pidfd in readable:
            if pidfd is not orders:
                pid = children.pop(pidfd)
                os.close(pidfd)
                _, status = os.waitpid(pid, 0)
                tell = {"pid": pid, "status": os.waitstatus_to_exitcode(status)}
                orders.sendall(json.dumps(tell).encode() + b"\n")
        if orders in readable:
            received = orders.recv(1 << 16)
            if not received:
                break
            *lines, waiting = (waiting + received).split(b"\n")
            for line in lines:
                order = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    for pidfd in children:
                        os.close(pidfd)
                    orders.close()
                    _become_node(order)
                children[os.pidfd_open(pid)] = pid
                orders.sendall(json.dumps({"order": order["order"], "pid": pid}).encode() + b"\n")
    for pid in children.values():
        os.kill(pid, signal.SIGKILL)


def _become_node(order: dict[str, Any]) -> None:
    """Run ``sdv-node --config FILE start`` in this fork; never returns."""
    code = 1
    try:
        from node.cli.main import main
        from node.worker.child import die_with
        from tests.chaos.harness import nursery

        die_with(os.getppid())
        os.setsid()
        log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.environ.update(order["environment"])
        for hook, arguments in order["hooks"]:
            module, _, function = hook.partition(":")
            getattr(importlib.import_module(module), function)(*arguments)
        nursery.open_here(Path(order["log"]).parent)
        main(["--config", order["config"], *order["command"]])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - as an interpreter would end
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
