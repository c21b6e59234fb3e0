"""Looking at the GPUs again and again from a thread of its own, so that a driver that hangs hangs alone.

At most one call into the driver is under way. While it does not come back the report says so, and nothing
else waits for it: not the event loop, not the end of the process.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from node.clock import Clock, SystemClock
from node.gpu import faults
from node.gpu.probe import NvmlSession
from node.gpu.readings import Fault, FaultKind, GpuReport

PATIENCE_S = 10.0
"""How long a reading may take. The first one may load the driver."""


class Session(Protocol):
    """What is read; the probe's ``NvmlSession``. Called from one thread only."""

    def read(self) -> GpuReport:
        """Read every GPU once."""
        ...

    def close(self) -> None:
        """End the session with the driver."""
        ...


NOT_READ = GpuReport((), (Fault(FaultKind.NOT_READ, "the GPUs have not been read yet"),))


class GpuWatch:
    """The newest report. ``on_report`` hears of each one, on the event loop; it must not block."""

    def __init__(
        self,
        session: Session,
        clock: Clock,
        *,
        every_s: float,
        patience_s: float = PATIENCE_S,
        on_report: Callable[[GpuReport], None] = lambda _: None,
    ) -> None:
        self._session = session
        self._clock = clock
        self._every_s = every_s
        self._patience_s = patience_s
        self._on_report = on_report
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._under_way: asyncio.Future[GpuReport] | None = None
        self._asked_at = 0.0
        self.report = NOT_READ

    async def run(self) -> None:
        """Look every few seconds until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(self._every_s)

    async def look(self) -> GpuReport:
        """Return a fresh report, or one that says for how long the driver has not answered."""
        if self._under_way is None:
            self._under_way = self._ask()
            self._asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._patience_s):
                found = await asyncio.shield(self._under_way)
        except TimeoutError:
            silent_s = max(self._patience_s, self._clock.monotonic() - self._asked_at)
            found = GpuReport((), (faults.hung(silent_s),))
        else:
            self._under_way = None
        self.report = found
        self._on_report(found)
        return found

    def close(self) -> None:
        """End the session, as soon as the driver answers; nobody waits for that."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread = None

    def _ask(self) -> "asyncio.Future[GpuReport]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[GpuReport] = loop.create_future()

        def settle(report: GpuReport) -> None:
            if not answer.done():
                answer.set_result(report)

        def read() -> None:
            report = self._read()
            # Whoever asked may be gone by now, and its loop with it.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, report)

        if self._thread is None:
            # A daemon thread, because the interpreter would wait at its end for any other.
            self._thread = threading.Thread(target=self._work, name="nvml", daemon=True)
            self._thread.start()
        self._orders.put(read)
        return answer

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            order()
        self._session.close()

    def _read(self) -> GpuReport:
        try:
            return self._session.read()
        except Exception as error:  # noqa: BLE001 - a binding may fail in any way, the daemon goes on
            told = f"the GPUs cannot be read ({type(error).__name__}: {error}): update the NVIDIA driver"
            return GpuReport((), (Fault(FaultKind.OTHER, told),))


async def read_once(session: Session | None = None, *, patience_s: float = PATIENCE_S) -> GpuReport:
    """Read the GPUs once, for a command that runs beside no node."""
    watch = GpuWatch(session or NvmlSession(), SystemClock(), every_s=0.0, patience_s=patience_s)
    try:
        return await watch.look()
    finally:
        watch.close()
