"""The host's end of a fleet: a Ray actor that keeps one worker process on its host and hands out its files.

The process is the one that a node spawns for itself, in the same environment and under the same supervision;
what it says is passed on in the same messages. Jobs have a folder each, which goes with the actor: what is to
last is fetched by the node as soon as it is finished.
"""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import ray

from node.clock import SystemClock
from node.errors import JobFailed, Retryable
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.types import JobId
from node.worker.deaths import Cause, WorkerDied
from node.worker.process import SpawnedWorker
from node.worker.protocol import (
    DeviceFree,
    Failed,
    FailureKind,
    FromWorker,
    Progressed,
    ProtocolViolation,
    Ready,
    Refused,
    Render,
    decode_to_worker,
    encode,
)
from node.worker.ray_files import FileChanged, FileInfo, Inbox, Outbox, described
from node.worker.settings import WorkerSettings

_FOLDER = "fleet-jobs"
_REASON_CHARACTERS = 2000
_KINDS = {
    Cause.OUT_OF_MEMORY: FailureKind.OUT_OF_MEMORY,
    Cause.ENCODER: FailureKind.ENCODER,
    Cause.CUDA: FailureKind.CRASH,
    Cause.CRASH: FailureKind.CRASH,
}


class _Job:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.outbox = Outbox(directory)
        self.inbox = Inbox(directory)
        self.said: asyncio.Queue[bytes] = asyncio.Queue()
        self.rendering: asyncio.Task[None] | None = None

    def say(self, message: FromWorker) -> None:
        self.said.put_nowait(encode(message))


class HostWorker:
    """One worker process of this host. ``data_dir`` has the models and room for the jobs' folders."""

    def __init__(self, data_dir: str) -> None:
        self._data_dir = Path(data_dir).absolute()
        self._jobs: dict[str, _Job] = {}
        self._worker: SpawnedWorker | None = None
        self._folder, self._lock = _own_folder(self._data_dir / _FOLDER)

    async def where(self) -> str:
        """Return this host's address in the fleet."""
        return str(ray.util.get_node_ip_address())

    async def load(self, profile: str, settings: Mapping[str, Any]) -> bytes:
        """Start the process and return Ready once its models are loaded, or Refused."""
        try:
            self._worker = await SpawnedWorker.start(
                profile, self._data_dir, WorkerSettings(**settings), SystemClock()
            )
        except WorkerDied as died:
            return encode(Refused(str(died)[:_REASON_CHARACTERS]))
        return encode(Ready(self._worker.determinism_class, self._worker.pid))

    async def until_lost(self) -> str:
        """Return why the process is gone, once it is."""
        if self._worker is None:
            return "it was never started"
        await self._worker.ended.wait()
        return self._worker.reason or "it ended"

    async def accept(self, key: str, entry: tuple[str, int, str], chunks: Sequence[Any]) -> None:
        """Take a file that the node has of a job; ``chunks`` are references to its bytes, in order."""
        (info,) = described([entry])
        job = self._job(key)
        await asyncio.to_thread(job.inbox.write, info, (ray.get(chunk) for chunk in chunks))

    async def begin(self, key: str, order: bytes) -> None:
        """Begin to render; ``order`` is a Render, whose directory is chosen here."""
        message = decode_to_worker(order)
        if not isinstance(message, Render):
            raise ProtocolViolation(f"a {type(message).__name__} is no order to render")
        job = self._job(key)
        job.rendering = asyncio.create_task(self._render(key, job, JobSpec.from_json(message.spec)))

    async def heard(self, key: str) -> list[bytes]:
        """Wait until there is something to tell of a job and return it all, oldest first."""
        job = self._jobs[key]
        lines = [await job.said.get()]
        while not job.said.empty():
            lines.append(job.said.get_nowait())
        return lines

    async def files(self, key: str) -> list[tuple[Any, ...]]:
        """Return path, size and SHA-256 of what is durable of a job, in the order it was finished."""
        return [astuple(info) for info in await asyncio.to_thread(self._jobs[key].outbox.files)]

    async def chunk(self, key: str, entry: tuple[str, int, str], offset: int) -> bytes | None:
        """Return a part of a file, or None if the file has changed since it was described."""
        try:
            return await asyncio.to_thread(self._jobs[key].outbox.chunk, FileInfo(*entry), offset)
        except FileChanged:
            return None

    async def forget(self, key: str) -> None:
        """Remove a job's folder."""
        job = self._jobs.pop(key, None)
        if job is not None:
            await asyncio.to_thread(shutil.rmtree, job.directory, ignore_errors=True)

    def _job(self, key: str) -> _Job:
        if not key.isalnum():
            raise ProtocolViolation(f"{key!r:.100} is no key of a job")
        if key not in self._jobs:
            self._jobs[key] = _Job(self._folder / key)
        return self._jobs[key]

    async def _render(self, key: str, job: _Job, spec: JobSpec) -> None:
        def on_progress(progress: Progress) -> None:
            job.say(Progressed(key, **asdict(progress)))

        worker = self._worker
        if worker is None:
            job.say(Failed(key, "there is no worker", FailureKind.LOST))
            return
        try:
            free = DeviceFree(key)
            job.say(await worker.render(JobId(key), spec, job.directory, on_progress, lambda: job.say(free)))
        except JobFailed as error:
            job.say(_failed(key, error, FailureKind.JOB))
        except Retryable as error:
            job.say(_failed(key, error, FailureKind.MACHINE))
        except WorkerDied as died:
            job.say(_failed(key, died, _KINDS.get(died.cause, FailureKind.LOST)))


def _failed(key: str, reason: Exception, of: FailureKind) -> Failed:
    return Failed(key, str(reason)[:_REASON_CHARACTERS], of)


def _own_folder(parent: Path) -> tuple[Path, int]:
    """Make a folder that is held by an open lock, and remove those whose holders are gone."""
    parent.mkdir(parents=True, exist_ok=True)
    for folder in parent.iterdir():
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
    own = Path(tempfile.mkdtemp(prefix="worker-", dir=parent))
    lock = os.open(own, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return own, lock
