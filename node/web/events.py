"""Server-sent events: the engine's changes, pushed to a bounded number of readers.

Each change is asked for and encoded once, however many read it. Each reader has its own bounded queue; one
that does not keep up is dropped and reconnects for a fresh start, so a slow reader never costs the engine
memory or time.
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


class _Reader:
    """What one reader has still to be sent. ``over`` is set when it fell behind or nothing more comes."""

    def __init__(self, backlog: int) -> None:
        self.chunks: asyncio.Queue[bytes] = asyncio.Queue(backlog)
        self.over: Final = asyncio.Event()

    def push(self, chunk: bytes) -> None:
        try:
            self.chunks.put_nowait(chunk)
        except asyncio.QueueFull:
            self.over.set()


class EventStreams:
    """All open streams of one application."""

    def __init__(
        self,
        source: StatusSource,
        *,
        max_clients: int = 64,
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
        self._readers: Final[set[_Reader]] = set()
        self._pump: asyncio.Task[None] | None = None

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
        reader = _Reader(self._backlog)
        pump = self._join(reader)
        writing = asyncio.create_task(self._write_all(reader.chunks, send))
        over = asyncio.create_task(reader.over.wait())
        gone = asyncio.create_task(_disconnected(receive))
        self._open.add(writing)
        try:
            await asyncio.wait((writing, over, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open.discard(writing)
            for task in (writing, over, gone):
                task.cancel()
            outcomes = await asyncio.gather(writing, over, gone, return_exceptions=True)
            await self._leave(reader)
        broken = pump.exception() if pump.done() and not pump.cancelled() else None
        for outcome in (*outcomes, broken):
            # A reader that stalled (TimeoutError) or left is ordinary; anything else is ours to hear about.
            if isinstance(outcome, Exception) and not isinstance(outcome, OSError):
                raise outcome

    def _join(self, reader: _Reader) -> "asyncio.Task[None]":
        self._readers.add(reader)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._push_all())
        return self._pump

    async def _leave(self, reader: _Reader) -> None:
        self._readers.discard(reader)
        if not self._readers and self._pump is not None:
            pump, self._pump = self._pump, None
            pump.cancel()
            await asyncio.wait([pump])

    async def _push_all(self) -> None:
        """Hand every change to every reader; when the source ends, so do they."""
        try:
            async with contextlib.aclosing(_closeable(self._source.subscribe())) as changes:
                async for change in changes:
                    chunk = _encode(change["type"], change["data"])
                    for reader in self._readers:
                        reader.push(chunk)
        finally:
            # One that the last reader's leaving ends says nothing to those who have come since.
            if self._pump is asyncio.current_task():
                for reader in self._readers:
                    reader.over.set()

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
                while not queue.empty():
                    chunk += queue.get_nowait()
            except TimeoutError:
                chunk = _BEAT


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
