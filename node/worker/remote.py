"""A worker that somebody else starts, under another user: connect, check who it is, talk, hang up.

Its process is not ours to signal: it is told to end, and its service manager starts it again. What it
delivers lies in a folder that both can write, and is another user's word until it was checked (``checking``).
"""

import asyncio
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import structlog

from node.clock import Clock
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.types import JobId
from node.unix_peers import peer_uid
from node.worker.deaths import Cause, WorkerDied
from node.worker.protocol import MAX_MESSAGE_BYTES, Rendered
from node.worker.session import Ending, WorkerSession
from node.worker.settings import Standalone, WorkerSettings

_HUNG_UP = "it hung up: journalctl -u 'sdv-node-worker@*' says why"
_NOBODY = 65534
"""How a user shows who is not in the user namespace of whoever looks: user_namespaces(7)."""


class RemoteWorker:
    """A connected worker with its models loaded; made by ``connect``."""

    def __init__(self, session: WorkerSession) -> None:
        self._session = session
        self._talking = asyncio.create_task(self._converse())
        self._ending: asyncio.Task[None] | None = None
        self.reason: str | None = None
        self.cause: Cause | None = None
        self.ended = asyncio.Event()
        self._log = structlog.get_logger().bind(worker_pid=session.pid)

    @classmethod
    async def connect(
        cls, place: Standalone, profile: str, settings: WorkerSettings, clock: Clock
    ) -> "RemoteWorker":
        """Connect and wait until its models are loaded. Raises WorkerDied with what to do about it."""
        reader, writer = await reach(place)
        session = WorkerSession(reader, writer, settings, clock)
        try:
            await session.greet(profile)
        except BaseException:
            session.close()
            raise
        worker = cls(session)
        try:
            await session.loaded()
        except BaseException as error:
            await worker.end(str(error) or "it was not waited for", gently=True)
            raise
        return worker

    @property
    def pid(self) -> int | None:
        """The process id, as the worker tells it."""
        return self._session.pid

    @property
    def determinism_class(self) -> str:
        """What the worker's bytes repeat within."""
        return self._session.determinism_class

    async def render(
        self,
        job_id: JobId,
        spec: JobSpec,
        job_dir: Path,
        on_progress: Callable[[Progress], None],
        on_device_free: Callable[[], None],
    ) -> Rendered:
        """Have one job rendered, as ``SpawnedWorker.render`` does."""
        try:
            return await self._session.render(job_id, spec, job_dir, on_progress, on_device_free)
        except asyncio.CancelledError:
            await self.end("its job was cancelled", gently=False)
            raise

    async def end(self, reason: str, *, gently: bool, cause: Cause = Cause.ENDED) -> None:
        """Hang up. A worker that does nothing stays, with its models; ``gently`` or not, one at work ends."""
        await self._end_with(Ending(reason, cause), gently=gently)

    async def _end_with(self, ending: Ending, *, gently: bool) -> None:
        if self._ending is None:
            self.reason, self.cause = ending.reason, ending.cause
            self._ending = asyncio.create_task(self._end(ending, gently=gently))
        await asyncio.shield(self._ending)

    async def _converse(self) -> None:
        ending = await self._session.run()
        hung_up = Ending(_HUNG_UP, Cause.GONE)
        await self._end_with(ending or hung_up, gently=False)

    async def _end(self, ending: Ending, *, gently: bool) -> None:
        if not gently:
            self._session.order_end()
        self._session.settle(ending)
        self._session.close()
        self._talking.cancel()
        self._log.info("worker_ended", reason=ending.reason, cause=ending.cause)
        self.ended.set()


async def reach(place: Standalone) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a worker that is the one the operator named and whose results can be taken over.

    Raises WorkerDied with what to do about it.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(place.socket, limit=MAX_MESSAGE_BYTES)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise WorkerDied(
            f"no worker listens at {place.socket}: start it (systemctl start sdv-node-worker@...)"
        ) from error
    except OSError as error:
        raise WorkerDied(
            f"{place.socket} cannot be opened ({error.strerror}): this user must be in the worker's group"
        ) from error
    try:
        _check_exchange(place.exchange)
        check_user(peer_uid(writer.get_extra_info("socket")), place)
    except BaseException:
        writer.close()
        raise
    return reader, writer


def _check_exchange(exchange: Path) -> None:
    if not os.access(exchange, os.R_OK | os.W_OK | os.X_OK):
        raise WorkerDied(
            f"results are left in {exchange} (worker.exchange), which this user cannot write: it must be in "
            "the worker's group, and a unit's ReadWritePaths must have it",
            Cause.LOAD,
        )


def check_user(uid: int, place: Standalone) -> None:
    """Raise WorkerDied if a process of this user is not the worker that the operator named."""
    wanted = os.geteuid() if place.uid is None else place.uid
    if uid in {0, wanted}:
        return
    hint = ": in a unit with PrivateUsers=yes every other user looks like nobody" if uid == _NOBODY else ""
    raise WorkerDied(
        f"the worker at {place.socket} runs as {_name(uid)}, not as {_name(wanted)} (worker.user){hint}",
        Cause.PROTOCOL,
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
