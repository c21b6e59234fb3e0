"""The worker's own side: one profile, one daemon at a time, one job on the device and one being encoded.

Serves a Unix socket. What it cannot handle ends the process: it is replaced, never repaired, and tells with
its last words which job it was. A worker that works for a daemon that is gone ends too, because a render
cannot be called back; an idle one may wait for the next daemon with its models loaded.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Protocol, TypeVar

from node.errors import Fatal, JobFailed, NodeError, OutOfMemory, Retryable
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.pipeline.clip_order import WriteClip
from node.pipeline.results import Finished
from node.unix_peers import peer_uid
from node.worker.deaths import EncoderDied
from node.worker.protocol import (
    MAX_MESSAGE_BYTES,
    VERSIONS,
    DeviceFree,
    Failed,
    FailureKind,
    FromWorker,
    Hello,
    Ping,
    Pong,
    Progressed,
    ProtocolViolation,
    Ready,
    Refused,
    Render,
    Rendered,
    Shutdown,
    Welcome,
    agreed_version,
    decode_to_worker,
    encode,
)
from node.worker.silence import Silence

HELLO_TIMEOUT_S = 10.0
_LAST_WORDS_S = 2.0
_REASON_CHARACTERS = 2000
Rest = Callable[[], Finished]
"""Encodes what was computed and makes the result whole."""
_Result = TypeVar("_Result")


class EndedElsewhere(NodeError):
    """A job ended on the machine that rendered it for this process; ``of`` is what it ended of."""

    def __init__(self, reason: str, of: FailureKind) -> None:
        super().__init__(reason)
        self.of = of


class JobRenderer(Protocol):
    """What the worker needs of a pipeline; the real one and the fake one have it."""

    determinism_class: str

    def start(
        self,
        spec: JobSpec,
        job_dir: Path,
        on_progress: Callable[[Progress], None],
        write_clip: WriteClip | None = None,
    ) -> Rest:
        """Do what needs the device and return what does the rest. Raises JobFailed, Retryable or OSError."""
        ...


class WorkerServer:
    """Serves daemons one after another until it is told to end.

    ``uids`` may connect. ``waits_for_another``: an idle worker outlives its daemon. ``exchange`` is the only
    folder to work in; None for any. ``silence`` is told of every step.
    """

    def __init__(
        self,
        load: Callable[[], JobRenderer],
        *,
        silence: Silence,
        profile: str,
        residency: str,
        uids: frozenset[int],
        write_clip: WriteClip | None = None,
        waits_for_another: bool = False,
        exchange: Path | None = None,
        on_state: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._load = load
        self._silence = silence
        self._profile = profile
        self._residency = residency
        self._uids = uids
        self._write_clip = write_clip
        self._waits_for_another = waits_for_another
        self._exchange = exchange
        self._on_state = on_state
        self._device = ThreadPoolExecutor(max_workers=1, thread_name_prefix="render")
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="finish")
        self._jobs: asyncio.Queue[Render] = asyncio.Queue()
        self._writer: asyncio.StreamWriter | None = None
        self._ready: Ready | None = None
        self._open_jobs = 0

    async def serve(self, listener: socket.socket) -> None:
        """Serve until something cannot be handled, and raise that."""
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_unix_server(self._meet, sock=listener, limit=MAX_MESSAGE_BYTES)
        async with server:
            try:
                await self._work()
            except (Fatal, Retryable, OSError) as error:
                await self._last_words(Refused(str(error)[:_REASON_CHARACTERS]))
                raise

    def stop(self) -> None:
        """End at once, telling the daemon that it is nobody's fault."""
        self._send(Refused("it was stopped by its service manager"))
        self._loop.call_later(0.1, os._exit, 0)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        refusal = self._objection(peer_uid(writer.get_extra_info("socket")))
        if refusal is None:
            self._writer = writer
            try:
                refusal = await self._greet(reader)
                if refusal is None:
                    refusal = await self._listen(reader)
            except (ConnectionError, ProtocolViolation, ValueError, TimeoutError):
                pass
        if refusal is not None:
            with suppress(ConnectionError):
                writer.write(encode(Refused(refusal)))
                await writer.drain()
        if self._writer is writer:
            self._daemon_is_gone()
            self._writer = None
        writer.close()

    def _objection(self, uid: int) -> str | None:
        if uid not in self._uids:
            return f"user {uid} may not use this worker: start it with the node's user as --user"
        if self._writer is not None:
            return "another node is connected: each worker serves one node"
        return None

    async def _greet(self, reader: asyncio.StreamReader) -> str | None:
        """Agree with a daemon, or return why not."""
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            line = await reader.readline()
        hello = decode_to_worker(line)
        if not isinstance(hello, Hello):
            return "the first message must say which versions of the protocol are spoken"
        version = agreed_version(hello.versions)
        if version is None:
            return (
                f"it speaks versions {list(VERSIONS)} of the protocol, the node {hello.versions[:8]}: "
                "install one version of sdv-node for both"
            )
        if (hello.profile, hello.residency) != (self._profile, self._residency):
            return (
                f"it has profile {self._profile}, {self._residency}, and the node asks for "
                f"{hello.profile[:100]}, {hello.residency[:20]}: start both with the same [worker] settings"
            )
        self._send(Welcome(version, os.getpid()))
        if self._ready is not None:
            self._send(self._ready)
        return None

    async def _listen(self, reader: asyncio.StreamReader) -> str | None:
        """Take messages until the daemon hangs up, or return why not to go on."""
        while line := await reader.readline():
            match decode_to_worker(line):
                case Ping(number):
                    self._send(Pong(number))
                case Render() as job:
                    if self._exchange is not None and Path(job.job_dir).parent != self._exchange:
                        return f"it works below {self._exchange} only: set worker.exchange alike for both"
                    self._open_jobs += 1
                    self._silence.step()
                    self._jobs.put_nowait(job)
                case Shutdown():
                    break
                case Hello():
                    raise ProtocolViolation("a second Hello")
        else:
            return None
        os._exit(0)

    def _daemon_is_gone(self) -> None:
        if self._waits_for_another and not self._open_jobs:
            return
        # At once and without clean-up: a thread in the middle of a job would otherwise be waited for, and
        # every file of a job is written so that it may be cut off anywhere.
        os._exit(0)

    async def _work(self) -> None:
        """Load the profile, then render one job after another, encoding each while the next is computed."""
        renderer = await self._loop.run_in_executor(self._device, self._load)
        self._ready = Ready(renderer.determinism_class, os.getpid())
        self._send(self._ready)
        self._moved_on()
        self._on_state("idle")
        finishing = asyncio.create_task(asyncio.sleep(0))
        while True:
            job = await self._next_job(finishing)
            rest = await self._try(job, self._device, self._begin, renderer, job)
            # One job at a time waits for its encoding: results do not pile up behind a slow processor.
            await finishing
            if rest is not None:
                self._send(DeviceFree(job.job_id))
                finishing = asyncio.create_task(self._finish(job, rest))

    async def _next_job(self, finishing: asyncio.Task[None]) -> Render:
        """Wait for a job. What goes wrong with the one being encoded must end the process here, too."""
        asked = asyncio.create_task(self._jobs.get())
        await asyncio.wait({asked, finishing}, return_when=asyncio.FIRST_COMPLETED)
        if finishing.done():
            await finishing
        return await asked

    def _begin(self, renderer: JobRenderer, job: Render) -> Rest:
        def on_progress(progress: Progress) -> None:
            message = Progressed(job.job_id, **asdict(progress))
            self._loop.call_soon_threadsafe(self._progressed, message)

        return renderer.start(JobSpec.from_json(job.spec), Path(job.job_dir), on_progress, self._write_clip)

    def _progressed(self, message: Progressed) -> None:
        self._silence.step()
        self._send(message)

    def _job_ended(self) -> None:
        self._open_jobs -= 1
        self._moved_on()

    def _moved_on(self) -> None:
        if self._open_jobs:
            self._silence.step()
        else:
            self._silence.rest()

    async def _finish(self, job: Render, rest: Rest) -> None:
        finished = await self._try(job, self._beside, rest)
        if finished is not None:
            self._job_ended()
            self._send(Rendered(job.job_id, list(finished.outputs), finished.determinism_class))

    async def _try(
        self, job: Render, where: ThreadPoolExecutor, act: Callable[..., _Result], *given: object
    ) -> _Result | None:
        """Do a part of a job in a thread. What ends the job alone is told, and None returned."""
        failed = None
        try:
            return await self._loop.run_in_executor(where, act, *given)
        except JobFailed as error:
            failed = self._failure(job, error, FailureKind.JOB)
        except EndedElsewhere as error:
            failed = self._failure(job, error, error.of)
            if error.of is FailureKind.LOST:
                await self._last_words(failed)
                raise
        except EncoderDied as error:
            failed = self._failure(job, error, FailureKind.ENCODER)
        except OutOfMemory as error:
            ran_out = error.stage is not None
            failed = self._failure(job, error, FailureKind.OUT_OF_MEMORY if ran_out else FailureKind.MACHINE)
        except Retryable as error:
            failed = self._failure(job, error, FailureKind.MACHINE)
        except OSError as error:
            failed = self._failure(job, f"the disk or a file failed: {error}", FailureKind.MACHINE)
        except BaseException as error:
            await self._last_words(self._failure(job, f"{type(error).__name__}: {error}", FailureKind.CRASH))
            raise
        self._job_ended()
        self._send(failed)
        return None

    def _failure(self, job: Render, reason: object, kind: FailureKind) -> Failed:
        return Failed(job.job_id, str(reason)[:_REASON_CHARACTERS], kind)

    async def _last_words(self, message: FromWorker) -> None:
        self._send(message)
        if self._writer is not None:
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self._writer.drain()

    def _send(self, message: FromWorker) -> None:
        if self._writer is not None:
            self._writer.write(encode(message))
