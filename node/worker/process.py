"""One worker process of the daemon's own: start, watch, end.

Owns the process and its socket; what is said over it is the session's business, and which job it gets and
what follows its death the pool's. Starting is exec, never a fork of the daemon's state, and the environment
is an allow-list, so that nothing secret of the daemon reaches the process.
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from node.clock import Clock
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.pipeline.environment import ENVIRONMENT
from node.resources import PACKAGE
from node.types import JobId
from node.worker.deaths import Cause, WorkerDied
from node.worker.protocol import MAX_MESSAGE_BYTES, Rendered
from node.worker.session import Ending, WorkerSession
from node.worker.settings import Fleet, WorkerSettings

_INHERITED = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
)  # fmt: skip
_STDERR_LINES = 40
_STDERR_LINE_BYTES = 4096
_CONNECT_PAUSE_S = 0.02


def child_environment(daemon: Mapping[str, str], data_dir: Path, gpu: str | None = None) -> dict[str, str]:
    """Return the whole environment of a worker, given the daemon's. With ``gpu`` it sees that card alone.

    Compiled kernels are kept in ``data_dir``: the usual place is a temporary folder that a service loses with
    each restart.
    """
    environment = {name: daemon[name] for name in _INHERITED if name in daemon}
    environment.update(ENVIRONMENT)
    compiled = Path(_absolute(data_dir)) / "cache" / "compiled"
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(compiled)
    environment["TRITON_CACHE_DIR"] = str(compiled / "triton")
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    if (PACKAGE.parent / "pyproject.toml").exists():
        environment["PYTHONPATH"] = str(PACKAGE.parent)
    return environment


def fleet_environment(daemon: Mapping[str, str]) -> dict[str, str]:
    """Return what the process that talks to a fleet needs beside ``child_environment``."""
    environment = {
        name: text
        for name, text in daemon.items()
        if name.startswith(("RAY_AUTH_", "RAY_TLS_", "RAY_USE_TLS"))
    }
    # Ray tells nobody, and takes no program of ours to other hosts: the operator installs it there.
    return environment | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}


def _absolute(path: Path) -> str:
    return str(path.absolute())


class SpawnedWorker:
    """A running worker with its models loaded; made by ``start``."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, settings: WorkerSettings) -> None:
        self._process = process
        self._folder = folder
        self._settings = settings
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._session: WorkerSession | None = None
        self._stderr_kept = asyncio.create_task(self._keep_stderr())
        self._talking: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self.reason: str | None = None
        self.cause: Cause | None = None
        self.ended = asyncio.Event()
        self._log = structlog.get_logger().bind(worker_pid=process.pid)

    @classmethod
    async def start(
        cls,
        profile: str,
        data_dir: Path,
        settings: WorkerSettings,
        clock: Clock,
        gpu: str | None = None,
        fleet: Fleet | None = None,
    ) -> "SpawnedWorker":
        """Start a worker and wait until its models are loaded. Raises WorkerDied.

        With ``fleet`` the process has one on another host do the work.
        """
        # A path of its own, because the data directory's may be longer than a socket's may be.
        folder = Path(tempfile.mkdtemp(prefix="sdv-worker-"))
        socket = folder / "worker.sock"
        command = [
            sys.executable, "-P", "-m", "node.worker.child", "--socket", str(socket), "--profile", profile,
            "--residency", settings.residency, "--data-dir", _absolute(data_dir),
            "--parent", str(os.getpid()),
        ]  # fmt: skip
        environment = child_environment(os.environ, data_dir, gpu)
        if fleet is not None:
            command += ["--fleet", json.dumps(fleet.to_json(settings))]
            environment |= fleet_environment(os.environ)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=folder,
            # Ctrl-C in a terminal is for the daemon alone, which then ends its workers in order.
            start_new_session=True,
            limit=_STDERR_LINE_BYTES,
        )
        worker = cls(process, folder, settings)
        try:
            await worker._open(socket, profile, clock)
        except BaseException as error:
            why = Ending(str(error) or "it did not start", getattr(error, "cause", Cause.ENDED))
            await worker._end_with(why, gently=False)
            raise
        return worker

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def determinism_class(self) -> str:
        """What the worker's bytes repeat within."""
        return self._talk.determinism_class

    @property
    def _talk(self) -> WorkerSession:
        if self._session is None:
            raise WorkerDied("the worker is not connected")
        return self._session

    async def render(
        self,
        job_id: JobId,
        spec: JobSpec,
        job_dir: Path,
        on_progress: Callable[[Progress], None],
        on_device_free: Callable[[], None],
    ) -> Rendered:
        """Have one job rendered; the next may come when ``on_device_free`` is called.

        Raises WorkerDied, JobFailed if the job cannot be computed, Retryable if this machine failed it. When
        the caller is cancelled the worker is ended, because a render cannot be called back.
        """
        try:
            return await self._talk.render(job_id, spec, job_dir, on_progress, on_device_free)
        except asyncio.CancelledError:
            await self.end("its job was cancelled", gently=False)
            raise

    async def end(self, reason: str, *, gently: bool, cause: Cause = Cause.ENDED) -> None:
        """End the process and wait for it: ask (if ``gently``), terminate, then kill."""
        await self._end_with(Ending(reason, cause), gently=gently)

    async def _end_with(self, ending: Ending, *, gently: bool) -> None:
        if self._ending is None:
            self.reason, self.cause = ending.reason, ending.cause
            self._ending = asyncio.create_task(self._end(ending, gently=gently))
        await asyncio.shield(self._ending)

    async def _open(self, socket: Path, profile: str, clock: Clock) -> None:
        reader, writer = await self._connect(socket, clock)
        self._session = WorkerSession(reader, writer, self._settings, clock)
        try:
            await self._session.greet(profile)
        except WorkerDied as error:
            if error.cause is not Cause.GONE:
                raise
            # One that ended instead of answering has told why on its standard error.
            raise WorkerDied((await self._epitaph()).reason, Cause.LOAD) from error
        self._talking = asyncio.create_task(self._converse(self._session))
        await self._session.loaded()

    async def _connect(self, socket: Path, clock: Clock) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        too_late = f"the models were not loaded in {self._settings.load_s:g} s"
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type((FileNotFoundError, ConnectionRefusedError)),
                wait=wait_fixed(_CONNECT_PAUSE_S),
                stop=stop_after_delay(self._settings.load_s),
                sleep=clock.sleep,
                reraise=True,
            ):
                with attempt:
                    if self._process.returncode is not None:
                        raise WorkerDied((await self._epitaph()).reason, Cause.LOAD)
                    return await asyncio.open_unix_connection(socket, limit=MAX_MESSAGE_BYTES)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise WorkerDied(too_late, Cause.LOAD) from error
        raise WorkerDied(too_late, Cause.LOAD)

    async def _converse(self, session: WorkerSession) -> None:
        """Talk until it is over, then see the process off."""
        ending = await session.run()
        await self._end_with(ending or await self._epitaph(), gently=False)

    async def _keep_stderr(self) -> None:
        """Keep the last lines: they tell why a worker died."""
        stream = self._process.stderr
        if stream is None:
            return
        while chunk := await stream.read(_STDERR_LINE_BYTES):
            self._stderr.extend(chunk.decode("utf-8", "replace").splitlines())

    async def _epitaph(self) -> Ending:
        """Wait for the process to be gone and say how it went."""
        try:
            async with asyncio.timeout(self._settings.terminate_s):
                code = await self._process.wait()
        except TimeoutError:
            return Ending("it closed its socket and stayed", Cause.SILENCE)
        await asyncio.wait([self._stderr_kept], timeout=self._settings.terminate_s)
        # A group of exceptions is framed; what its frame holds is what tells.
        lines = (line.strip(" |+-") for line in reversed(self._stderr))
        last = next((line for line in lines if line), "")
        how = f"it was killed by signal {-code}" if code < 0 else f"it ended with exit code {code}"
        return Ending(f"{how}: {last}" if last else how, Cause.SIGNAL if code < 0 else Cause.CRASH)

    async def _end(self, ending: Ending, *, gently: bool) -> None:
        try:
            await self._see_off(gently=gently)
        finally:
            # Whatever went wrong: who waits for this worker must not wait for ever.
            self._settle(ending)

    async def _see_off(self, *, gently: bool) -> None:
        if gently and self._session is not None:
            self._session.order_end()
        for act in (None if gently else self._process.terminate, self._process.kill):
            if self._process.returncode is None and act is not None:
                # It may be gone already without our having been told.
                with suppress(ProcessLookupError):
                    act()
            try:
                async with asyncio.timeout(self._settings.terminate_s):
                    await self._process.wait()
                break
            except TimeoutError:
                continue

    def _settle(self, ending: Ending) -> None:
        if self._session is not None:
            self._session.settle(ending)
            self._session.close()
        for task in (self._stderr_kept, self._talking):
            if task is not None:
                task.cancel()
        shutil.rmtree(self._folder, ignore_errors=True)
        stderr = list(self._stderr)[-5:]
        self._log.info("worker_ended", reason=ending.reason, cause=ending.cause, stderr=stderr)
        self.ended.set()
