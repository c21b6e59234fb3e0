"""One worker process seen from the daemon: start, talk, watch, end.

Owns the process, its socket and its deadlines; which job it gets and what follows its death is the pool's
business. Starting is exec, never a fork of the daemon's state, and the environment is an allow-list, so that
nothing secret of the daemon reaches the process.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from node.clock import Clock
from node.errors import JobFailed, NodeError, Retryable
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.pipeline.environment import ENVIRONMENT
from node.resources import PACKAGE
from node.types import JobId
from node.worker.protocol import (
    MAX_MESSAGE_BYTES,
    Failed,
    FromWorker,
    Ping,
    Pong,
    Progressed,
    ProtocolViolation,
    Ready,
    Render,
    Rendered,
    Shutdown,
    ToWorker,
    decode_from_worker,
    encode,
)
from node.worker.settings import WorkerSettings

_INHERITED = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
)  # fmt: skip
_STDERR_LINES = 40
_STDERR_LINE_BYTES = 4096
_CONNECT_PAUSE_S = 0.02


class WorkerDied(NodeError):
    """The worker process ended, or had to be ended, before it answered."""


def child_environment(daemon: Mapping[str, str], data_dir: Path) -> dict[str, str]:
    """Return the whole environment of a worker, given the daemon's.

    Compiled kernels are kept in ``data_dir``: the usual place is a temporary folder that a service loses with
    each restart.
    """
    environment = {name: daemon[name] for name in _INHERITED if name in daemon}
    environment.update(ENVIRONMENT)
    compiled = Path(_absolute(data_dir)) / "cache" / "compiled"
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(compiled)
    environment["TRITON_CACHE_DIR"] = str(compiled / "triton")
    if (PACKAGE.parent / "pyproject.toml").exists():
        environment["PYTHONPATH"] = str(PACKAGE.parent)
    return environment


def _absolute(path: Path) -> str:
    return str(path.absolute())


class WorkerProcess:
    """A running worker with its models loaded; made by ``start``."""

    def __init__(
        self, process: asyncio.subprocess.Process, folder: Path, settings: WorkerSettings, clock: Clock
    ) -> None:
        self._process = process
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._writer: asyncio.StreamWriter | None = None
        self._ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._answer: asyncio.Future[Rendered] | None = None
        self._job_id = ""
        self._on_progress: Callable[[Progress], None] | None = None
        self._heard_at = self._progress_at = self._started_at = clock.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: asyncio.Task[None] | None = None
        self._reason: str | None = None
        self.ended = asyncio.Event()
        self._log = structlog.get_logger().bind(worker_pid=process.pid)

    @classmethod
    async def start(
        cls, profile: str, data_dir: Path, settings: WorkerSettings, clock: Clock
    ) -> "WorkerProcess":
        """Start a worker and wait until its models are loaded. Raises WorkerDied."""
        # A path of its own, because the data directory's may be longer than a socket's may be.
        folder = Path(tempfile.mkdtemp(prefix="sdv-worker-"))
        socket = folder / "worker.sock"
        command = [
            sys.executable, "-P", "-m", "node.worker.child", "--socket", str(socket), "--profile", profile,
            "--residency", settings.residency, "--data-dir", _absolute(data_dir),
            "--parent", str(os.getpid()),
        ]  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(os.environ, data_dir),
            cwd=folder,
            # Ctrl-C in a terminal is for the daemon alone, which then ends its workers in order.
            start_new_session=True,
            limit=_STDERR_LINE_BYTES,
        )
        worker = cls(process, folder, settings, clock)
        try:
            await worker._open(socket)
        except BaseException:
            await worker.end("it did not start", gently=False)
            raise
        return worker

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def determinism_class(self) -> str:
        """What the worker's bytes repeat within."""
        return self._ready.result().determinism_class

    async def render(
        self, job_id: JobId, spec: JobSpec, job_dir: Path, on_progress: Callable[[Progress], None]
    ) -> Rendered:
        """Have one job rendered; one at a time.

        Raises WorkerDied, JobFailed if the job cannot be computed, Retryable if this machine failed it. When
        the caller is cancelled the worker is ended, because a render cannot be called back.
        """
        if self.ended.is_set() or self._answer is not None:
            raise WorkerDied(self._reason or "the worker is busy or gone")
        self._answer = asyncio.get_running_loop().create_future()
        self._job_id, self._on_progress = job_id, on_progress
        self._started_at = self._progress_at = self._clock.monotonic()
        try:
            self._send(Render(job_id, spec.to_json(), _absolute(job_dir)))
            return await self._answer
        except asyncio.CancelledError:
            await self.end("its job was cancelled", gently=False)
            raise
        finally:
            self._answer, self._on_progress = None, None

    async def end(self, reason: str, *, gently: bool) -> None:
        """End the process and wait for it: ask (if ``gently``), terminate, then kill."""
        if self._ending is None:
            self._reason = self._reason or reason
            self._ending = asyncio.create_task(self._end(gently=gently))
        await asyncio.shield(self._ending)

    async def _open(self, socket: Path) -> None:
        self._tasks.append(asyncio.create_task(self._keep_stderr()))
        try:
            async with asyncio.timeout(self._settings.load_s):
                reader = await self._connect(socket)
                self._tasks.append(asyncio.create_task(self._listen(reader)))
                self._tasks.append(asyncio.create_task(self._watch()))
                await asyncio.shield(self._ready)
        except TimeoutError as error:
            raise WorkerDied(f"the models were not loaded in {self._settings.load_s:g} s") from error

    async def _connect(self, socket: Path) -> asyncio.StreamReader:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((FileNotFoundError, ConnectionRefusedError)),
            wait=wait_fixed(_CONNECT_PAUSE_S),
            stop=stop_after_delay(self._settings.load_s),
            sleep=self._clock.sleep,
            reraise=True,
        ):
            with attempt:
                if self._process.returncode is not None:
                    raise WorkerDied(await self._epitaph())
                reader, self._writer = await asyncio.open_unix_connection(socket, limit=MAX_MESSAGE_BYTES)
        return reader

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Take messages until the worker hangs up, then see it off."""
        reason = None
        try:
            while line := await reader.readline():
                self._heard_at = self._clock.monotonic()
                self._take(decode_from_worker(line))
        except (ProtocolViolation, ValueError) as error:
            reason = f"it broke the protocol: {error}"
        except ConnectionError:
            pass
        await self.end(reason or await self._epitaph(), gently=False)

    def _take(self, message: FromWorker) -> None:
        match message:
            case Ready():
                if not self._ready.done():
                    self._ready.set_result(message)
            case Pong():
                pass
            case Progressed() if message.job_id == self._job_id and self._on_progress is not None:
                self._progress_at = self._clock.monotonic()
                progress = Progress(
                    message.stage, message.step, message.steps, message.fraction, message.artifact
                )
                self._on_progress(progress)
            case Rendered() if message.job_id == self._job_id:
                self._settle(message)
            case Failed() if message.job_id == self._job_id:
                self._settle((Retryable if message.retryable else JobFailed)(message.reason))
            case _:
                raise ProtocolViolation(f"a {type(message).__name__} that belongs to no job")

    def _settle(self, outcome: Rendered | NodeError) -> None:
        if self._answer is None or self._answer.done():
            return
        if isinstance(outcome, Rendered):
            self._answer.set_result(outcome)
        else:
            self._answer.set_exception(outcome)

    async def _watch(self) -> None:
        """Ping, and end the worker when it, its job or its job's progress is overdue."""
        number = 0
        while True:
            await self._clock.sleep(self._settings.ping_interval_s)
            number += 1
            self._send(Ping(number))
            overdue = self._overdue()
            if overdue is not None:
                self._log.warning("worker_overdue", reason=overdue)
                await self.end(overdue, gently=False)

    def _overdue(self) -> str | None:
        now, settings = self._clock.monotonic(), self._settings
        if now - self._heard_at > settings.ping_s:
            return f"it did not answer for {settings.ping_s:g} s"
        if self._answer is not None:
            if now - self._progress_at > settings.progress_s:
                return f"its job made no progress for {settings.progress_s:g} s"
            if now - self._started_at > settings.job_s:
                return f"its job took more than {settings.job_s:g} s"
        return None

    def _send(self, message: ToWorker) -> None:
        if self._writer is not None:
            self._writer.write(encode(message))

    async def _keep_stderr(self) -> None:
        """Keep the last lines: they tell why a worker died."""
        stream = self._process.stderr
        if stream is None:
            return
        while chunk := await stream.read(_STDERR_LINE_BYTES):
            self._stderr.extend(chunk.decode("utf-8", "replace").splitlines())

    async def _epitaph(self) -> str:
        """Wait for the process to be gone and say how it went."""
        try:
            async with asyncio.timeout(self._settings.terminate_s):
                code = await self._process.wait()
        except TimeoutError:
            return "it closed its socket and stayed"
        await asyncio.wait(self._tasks[:1], timeout=self._settings.terminate_s)
        # A group of exceptions is framed; what its frame holds is what tells.
        lines = (line.strip(" |+-") for line in reversed(self._stderr))
        last = next((line for line in lines if line), "")
        how = f"it was killed by signal {-code}" if code < 0 else f"it ended with exit code {code}"
        return f"{how}: {last}" if last else how

    async def _end(self, *, gently: bool) -> None:
        if gently:
            self._send(Shutdown())
        for act in (None if gently else self._process.terminate, self._process.kill):
            if self._process.returncode is None and act is not None:
                act()
            try:
                async with asyncio.timeout(self._settings.terminate_s):
                    await self._process.wait()
                break
            except TimeoutError:
                continue
        error = WorkerDied(self._reason or "it ended")
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()
        self._settle(error)
        if self._writer is not None:
            self._writer.close()
        own = asyncio.current_task()
        for task in self._tasks:
            if task is not own:
                task.cancel()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._log.info("worker_ended", reason=self._reason, stderr=list(self._stderr)[-5:])
        self.ended.set()
