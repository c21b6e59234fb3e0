"""Server-sent events: the engine's changes, pushed to a bounded number of readers.

Each reader has its own bounded queue; one that does not keep up is dropped and reconnects for a fresh start,
so a slow reader never costs the engine memory or time.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from node.web.status import StatusSource, wire

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
# A comment keeps proxies awake; the event beside it is what a page can see, to tell silence from a dead line.
_BEAT: Final = b": still here\nevent: beat\ndata: {}\n\n"


class EventStreams:
    """All open streams of one application."""

    def __init__(
        self,
        source: StatusSource,
        *,
        max_clients: int = 32,
        backlog: int = 256,
        heartbeat_s: float = 15.0,
        stalled_after_s: float = 30.0,
    ) -> None:
        self._source: Final = source
        self._max_clients: Final = max_clients
        self._backlog: Final = backlog
        self._heartbeat_s: Final = heartbeat_s
        self._stalled_after_s: Final = stalled_after_s
        self._open: Final[set[asyncio.Task[None]]] = set()

    @property
    def clients(self) -> int:
        """How many streams are open."""
        return len(self._open)

    def response(self) -> Response:
        """Return a stream, or a refusal when there are as many as allowed."""
        if len(self._open) >= self._max_clients:
            return JSONResponse(
                {"error": f"{self._max_clients} live views are open, which is the limit: close one or poll"},
                503,
                {"Retry-After": "10"},
            )
        return _Stream(self)

    async def close(self) -> None:
        """End every stream; used when the server shuts down, which would otherwise wait for them."""
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve one reader until it leaves, falls behind, the source ends or ``close`` is called."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(self._backlog)
        writing = asyncio.create_task(self._write_all(queue, send))
        tasks = (writing, asyncio.create_task(self._fill(queue)), asyncio.create_task(_disconnected(receive)))
        self._open.add(writing)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open.discard(writing)
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            # A reader that stalled (TimeoutError) or left is ordinary; anything else is ours to hear about.
            if isinstance(outcome, Exception) and not isinstance(outcome, OSError):
                raise outcome

    async def _write_all(self, queue: "asyncio.Queue[bytes]", send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        chunk = b"retry: 2000\n\n" + _encode("status", self._source.status())
        while True:
            async with asyncio.timeout(self._stalled_after_s):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            try:
                # Not wait_for: on Python 3.11 it loses a cancellation that meets an arriving item.
                async with asyncio.timeout(self._heartbeat_s):
                    chunk = await queue.get()
            except TimeoutError:
                chunk = _BEAT

    async def _fill(self, queue: "asyncio.Queue[bytes]") -> None:
        """Queue every change; return when the source ends or the reader has fallen behind."""
        async with contextlib.aclosing(_closeable(self._source.subscribe())) as changes:
            async for change in changes:
                try:
                    queue.put_nowait(_encode(change["type"], change["data"]))
                except asyncio.QueueFull:
                    return


class _Stream(Response):
    def __init__(self, streams: EventStreams) -> None:
        super().__init__()
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._streams.run(receive, send)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _closeable(changes: AsyncIterator[dict[str, Any]]) -> AsyncGenerator[dict[str, Any], None]:
    try:
        async for change in changes:
            yield change
    finally:
        close = getattr(changes, "aclose", None)
        if close is not None:
            await close()


def _encode(kind: str, data: object) -> bytes:
    # json.dumps escapes line breaks, so one event is always one line of data.
    return f"event: {kind}\ndata: {json.dumps(wire(data), separators=(',', ':'))}\n\n".encode()
