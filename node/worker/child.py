"""The worker process: loads one profile, answers pings, renders one job at a time in a thread.

Entry: ``python -m node.worker.child --socket PATH --profile NAME --data-dir DIR [--residency swapped]
[--parent PID]``. It owns the socket, serves the first connection and ends with it; with ``--parent`` the
kernel also ends it when that process dies. What it cannot handle ends the process with a traceback: it is
replaced, never repaired.
"""

import argparse
import asyncio
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Protocol

from node.errors import Fatal, JobFailed, Retryable
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.pipeline.profiles import load_profile
from node.pipeline.results import Finished
from node.worker.fake import FakeRenderer, is_fake
from node.worker.protocol import (
    MAX_MESSAGE_BYTES,
    Failed,
    FromWorker,
    Ping,
    Pong,
    Progressed,
    Ready,
    Render,
    Rendered,
    Shutdown,
    decode_to_worker,
    encode,
)

_PR_SET_PDEATHSIG = 1


class JobRenderer(Protocol):
    """What the worker needs of a pipeline; the real one and the fake one have it."""

    determinism_class: str

    def render(self, spec: JobSpec, job_dir: Path, on_progress: Callable[[Progress], None]) -> Finished:
        """Render to ``job_dir/result``. Raises JobFailed, Retryable or OSError."""
        ...


def main() -> None:
    """Run until the daemon goes away or says so."""
    parser = argparse.ArgumentParser(description="render jobs for the daemon that started this process")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--residency", choices=("resident", "swapped"), default="resident")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--parent", type=int)
    arguments = parser.parse_args()
    if arguments.parent is not None:
        die_with(arguments.parent)
    load = partial(_load, arguments.profile, arguments.residency, arguments.data_dir)
    asyncio.run(_serve(arguments.socket, load))


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies; end at once if that has happened already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit("the daemon that started this worker is gone")


def _load(profile: str, residency: str, data_dir: Path) -> JobRenderer:
    if is_fake(profile):
        return FakeRenderer(profile)
    # A fifth of the time of the large imports goes into collections that find nothing.
    gc.disable()
    # Imported here, so that the fake profile and the socket are there before torch is.
    from node.pipeline.renderer import Renderer

    renderer = Renderer.load(load_profile(profile).placed(residency), data_dir)
    gc.freeze()
    gc.enable()
    return renderer


async def _serve(socket: Path, load: Callable[[], JobRenderer]) -> None:
    connected: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
        asyncio.get_running_loop().create_future()
    )

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if connected.done():
            writer.close()
        else:
            connected.set_result((reader, writer))

    async with await asyncio.start_unix_server(accept, socket, limit=MAX_MESSAGE_BYTES):
        reader, writer = await connected
        session = _Session(reader, writer)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(session.listen())
            tasks.create_task(session.work(load))


class _Session:
    """One connection: a task that reads and a task that loads and renders."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._jobs: asyncio.Queue[Render] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    async def listen(self) -> None:
        """Answer pings and queue jobs until the daemon hangs up, then end the process."""
        while line := await self._reader.readline():
            match decode_to_worker(line):
                case Ping(number):
                    self._send(Pong(number))
                case Render() as job:
                    self._jobs.put_nowait(job)
                case Shutdown():
                    break
        # At once and without clean-up: a thread in the middle of a job would otherwise be waited for, and
        # every file of a job is written so that it may be cut off anywhere.
        os._exit(0)

    async def work(self, load: Callable[[], JobRenderer]) -> None:
        """Load the profile, then render one job after another."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="render") as thread:
            try:
                renderer = await self._loop.run_in_executor(thread, load)
            except (Fatal, Retryable, OSError) as error:
                sys.exit(str(error))
            self._send(Ready(renderer.determinism_class, os.getpid()))
            while True:
                job = await self._jobs.get()
                self._send(await self._loop.run_in_executor(thread, self._render, renderer, job))

    def _render(self, renderer: JobRenderer, job: Render) -> FromWorker:
        def on_progress(progress: Progress) -> None:
            message = Progressed(job.job_id, **asdict(progress))
            self._loop.call_soon_threadsafe(self._send, message)

        try:
            finished = renderer.render(JobSpec.from_json(job.spec), Path(job.job_dir), on_progress)
        except JobFailed as error:
            return Failed(job.job_id, str(error), retryable=False)
        except Retryable as error:
            return Failed(job.job_id, str(error), retryable=True)
        except OSError as error:
            return Failed(job.job_id, f"the disk or a file failed: {error}", retryable=True)
        return Rendered(job.job_id, list(finished.outputs), finished.determinism_class)

    def _send(self, message: FromWorker) -> None:
        self._writer.write(encode(message))


if __name__ == "__main__":
    main()
