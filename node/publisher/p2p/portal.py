"""The one way from asyncio into trio, which runs in a thread of its own.

Three promises: cancelling the asyncio caller cancels the trio task; closing fails every call in flight; a
call after that raises PortalClosed. Only bytes, strings and frozen dataclasses should cross.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Self, TypeVar, TypeVarTuple, cast

import trio

from node.publisher.p2p.errors import PortalClosed

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

CANCEL_GRACE_S = 5.0
"""How long a cancelled caller waits for its trio task to have ended."""
_CLOSED = "the trio thread has ended: start it again"


class _Call:
    """One call on its way: the asyncio future of its outcome, and the scope that cancels it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[], Awaitable[Any]]) -> None:
        self.loop = loop
        self.work = work
        self.outcome: asyncio.Future[Any] = loop.create_future()
        # Whoever was cancelled does not ask any more, and asyncio would complain of a failure nobody saw.
        self.outcome.add_done_callback(lambda outcome: outcome.cancelled() or outcome.exception())
        self.scope = trio.CancelScope()

    def succeed(self, value: object) -> None:
        self._settle(lambda: self.outcome.set_result(value))

    def fail(self, error: BaseException) -> None:
        self._settle(lambda: self.outcome.set_exception(error))

    def give_up(self) -> None:
        self._settle(self.outcome.cancel)

    def _settle(self, change: Callable[[], object]) -> None:
        def apply() -> None:
            if not self.outcome.done():
                change()

        with suppress(RuntimeError):  # the caller's loop is closed, so nobody waits any more
            self.loop.call_soon_threadsafe(apply)


class TrioPortal:
    """A thread that runs trio, and calls into it. One life: what is closed is not opened again."""

    def __init__(self, name: str = "trio") -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        # Everything below is guarded by the lock: both threads look at it.
        self._token: trio.lowlevel.TrioToken | None = None
        self._calls: set[_Call] = set()
        self._closed = False
        self._cause: BaseException | None = None
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Start the thread; returns when trio runs."""
        loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = loop.create_future()

        def announce() -> None:
            if not started.done():
                started.set_result(None)

        self._thread = threading.Thread(
            target=self._run, args=(partial(loop.call_soon_threadsafe, announce),), name=self._name
        )
        self._thread.daemon = True  # a process must be able to end even if trio does not
        self._thread.start()
        try:
            await started
        except BaseException:
            await self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether calls are refused, because of ``close`` or because trio ended by itself."""
        return self._closed

    async def call(self, work: Callable[[*Arguments], Awaitable[Result]], *arguments: *Arguments) -> Result:
        """Run an async function in trio and return its result, or raise what it raises.

        Raises PortalClosed if the portal is closed, or closes before the function has returned. When the
        caller is cancelled, so is the function; the caller waits for its end, at most ``CANCEL_GRACE_S``.
        """
        call = _Call(asyncio.get_running_loop(), partial(work, *arguments))
        with self._lock:
            if self._closed or self._token is None:
                raise PortalClosed(_CLOSED) from self._cause
            self._calls.add(call)
            token = self._token
        try:
            token.run_sync_soon(self._begin, call)
        except trio.RunFinishedError:
            self._drop(call)
            raise PortalClosed(_CLOSED) from self._cause
        try:
            return cast("Result", await asyncio.shield(call.outcome))
        except asyncio.CancelledError:
            if not call.outcome.done():
                await self._cancel(call, token)
            raise

    async def close(self) -> None:
        """End every call in flight with PortalClosed, and the thread. Safe to repeat, and after a crash."""
        with self._lock:
            self._closed = True
            token = self._token
        if token is not None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._end)
        if self._thread is not None:
            # A task that shields itself from cancellation would keep the thread: then its callers go first.
            await asyncio.to_thread(self._thread.join, CANCEL_GRACE_S)
        self._fail_all()

    async def _cancel(self, call: _Call, token: trio.lowlevel.TrioToken) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(call.scope.cancel)
        await asyncio.wait({call.outcome}, timeout=CANCEL_GRACE_S)

    def _drop(self, call: _Call) -> None:
        with self._lock:
            self._calls.discard(call)

    def _fail_all(self) -> None:
        with self._lock:
            self._closed = True
            calls = list(self._calls)
            self._calls.clear()
        for call in calls:
            error = PortalClosed(_CLOSED)
            error.__cause__ = self._cause
            call.fail(error)

    # What follows runs in the trio thread.

    def _run(self, announce: Callable[[], object]) -> None:
        try:
            trio.run(self._main, announce)
        except BaseException as error:  # noqa: BLE001 - whatever ended trio, its callers must hear of it
            self._cause = error
        finally:
            self._fail_all()
            with suppress(RuntimeError):
                announce()

    async def _main(self, announce: Callable[[], object]) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            with self._lock:
                self._token = trio.lowlevel.current_trio_token()
                if self._closed:
                    return  # closed before it could be told to end
            announce()
            await trio.sleep_forever()

    def _begin(self, call: _Call) -> None:
        if self._nursery is None or self._closed:
            self._drop(call)
            call.fail(PortalClosed(_CLOSED))
            return
        self._nursery.start_soon(self._carry_out, call)

    def _end(self) -> None:
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def _carry_out(self, call: _Call) -> None:
        settled = False
        try:
            with call.scope:
                value = await call.work()
                call.succeed(value)
                settled = True
        except Exception as error:  # noqa: BLE001 - an error belongs to the caller, not to the other calls
            call.fail(error)
            settled = True
        finally:
            self._drop(call)
            if not settled:
                if call.scope.cancelled_caught:
                    call.give_up()
                else:
                    call.fail(PortalClosed(_CLOSED))
