"""The worker process: what is set before anything heavy is loaded, then the server.

Entry: ``python -m node.worker.child --socket PATH --profile NAME --data-dir DIR [--residency swapped]``, and
``--parent PID`` for a worker of the daemon's own, with which it ends, or ``--user NAME --exchange DIR`` for
one that a service manager starts and that waits for one daemon of that user after another. The environment
must be that of ``child_environment``.
"""

import argparse
import asyncio
import ctypes
import gc
import math
import os
import pwd
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from node.clock import SystemClock
from node.errors import Misconfigured, NodeError
from node.observe.systemd import Notifier, feed_watchdog
from node.pipeline.profiles import load_profile
from node.worker.encoder import EncoderProcess
from node.worker.fake import FakeRenderer, is_fake
from node.worker.listening import listen_for_a_node
from node.worker.serving import JobRenderer, WorkerServer
from node.worker.silence import Silence

_PR_SET_PDEATHSIG = 1
_SHARED_UMASK = 0o007


def main() -> None:
    """Run until the daemon goes away or says so."""
    options = _options()
    if options.parent is not None:
        die_with(options.parent)
    else:
        # The node takes results away, so its group may write what this user writes.
        os.umask(_SHARED_UMASK)
    try:
        asyncio.run(_serve(options))
    except (NodeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(getattr(error, "exit_code", 1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="render jobs for a node")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--residency", choices=("resident", "swapped"), default="resident")
    parser.add_argument("--data-dir", type=Path, required=True)
    owner = parser.add_mutually_exclusive_group(required=True)
    owner.add_argument("--parent", type=int)
    owner.add_argument("--user")
    parser.add_argument("--exchange", type=Path)
    # The daemon watches a worker of its own; the service manager the others.
    parser.add_argument("--load-s", type=float, default=math.inf)
    parser.add_argument("--progress-s", type=float, default=math.inf)
    parser.add_argument("--fleet", metavar="JSON", help="have a worker of a fleet render, see Fleet.to_json")
    return parser.parse_args()


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies; end at once if that has happened already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit("the daemon that started this worker is gone")


async def _serve(options: argparse.Namespace) -> None:
    encoder = EncoderProcess()
    uids = {os.geteuid()} | ({_uid(options.user)} if options.user else set())
    notifier = Notifier()
    clock = SystemClock()
    silence = Silence(clock, load_s=options.load_s, progress_s=options.progress_s)
    server = WorkerServer(
        _loader(options, encoder),
        silence=silence,
        profile=options.profile,
        residency=options.residency,
        uids=frozenset(uids),
        write_clip=encoder.write_clip,
        waits_for_another=options.user is not None,
        exchange=options.exchange,
        on_state=notifier.status,
    )
    with listen_for_a_node(options.socket, shared=options.user is not None) as listener:
        if options.user is None:
            await server.serve(listener)
            return
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
        watchdog = asyncio.create_task(feed_watchdog(notifier, silence.is_fine, clock))
        # Whoever waits for this unit waits for the socket: models may take minutes to load.
        notifier.ready("loading models")
        try:
            await server.serve(listener)
        finally:
            watchdog.cancel()


def _uid(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise Misconfigured(f"there is no user {user!r}: name the one the node runs as with --user") from None


def _loader(options: argparse.Namespace, encoder: EncoderProcess) -> Callable[[], JobRenderer]:
    profile, residency, data_dir = options.profile, options.residency, options.data_dir
    if options.fleet is not None:
        # Imported here, because Ray is there only for those who have a fleet.
        from node.worker.ray_renderer import fleet_loader

        return fleet_loader(options.fleet, profile, residency)
    if is_fake(profile):
        return partial(FakeRenderer, profile)
    placed = load_profile(profile).placed(residency)

    def load() -> JobRenderer:
        encoder.start()
        # A fifth of the time of the large imports goes into collections that find nothing.
        gc.disable()
        # Imported here, so that the fake profile and the socket are there before torch is.
        from node.pipeline.renderer import Renderer

        renderer = Renderer.load(placed, data_dir)
        gc.freeze()
        gc.enable()
        return renderer

    return load


if __name__ == "__main__":
    main()
