"""Blocking work on a thread of its own that nobody has to wait for.

The event loop's own threads hold up the end of the program until they are done; an upload must not.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

Result = TypeVar("Result")


class Stop:
    """Tells work that nobody waits for it any more, and cuts the connections it has open then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._open: set[socket.socket] = set()

    def is_set(self) -> bool:
        """Whether nobody waits any more."""
        return self._is_set

    def set(self) -> None:
        """Say that nobody waits any more. Does not block."""
        with self._lock:
            self._is_set = True
            for connection in self._open:
                _cut(connection)

    @contextmanager
    def cutting(self) -> Iterator[Callable[[socket.socket], None]]:
        """Yield what takes the connections to be cut, at once if nobody waits now, until the context ends."""
        mine: list[socket.socket] = []

        def add(connection: socket.socket) -> None:
            # A duplicate: whoever owns the connection may close it, or hand it on to TLS, at any moment.
            handle = connection.dup()
            mine.append(handle)
            with self._lock:
                self._open.add(handle)
                if self._is_set:
                    _cut(handle)

        try:
            yield add
        finally:
            with self._lock:
                self._open.difference_update(mine)
            for handle in mine:
                handle.close()


async def in_thread(work: Callable[[Stop], Result]) -> Result:
    """Return what ``work`` returns. Cancelled, it sets the ``Stop`` given to ``work`` and does not wait."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()
    stop = Stop()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type] # None only beside an error, or as the result

    def run() -> None:
        result, failure = None, None
        try:
            result = work(stop)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the program has ended meanwhile

    threading.Thread(target=run, name="target", daemon=True).start()
    try:
        return await done
    finally:
        stop.set()


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it is gone already
        connection.shutdown(socket.SHUT_RDWR)
