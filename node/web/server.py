"""Binding the HTTP port and serving an application on it until told to stop."""

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import hypercorn.asyncio
from hypercorn.config import Config, Sockets
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from node.errors import Misconfigured

# A peer that takes no byte for this long is cut off by the kernel, even while we wait for it to read.
_PEER_TIMEOUT_MS: Final = 60_000
# How long requests may go on after the order to stop.
_DRAIN_S: Final = 3.0
# A request's line and headers must have come within this, and the next one on the same connection begun.
_HEADERS_WITHIN_S: Final = 5
_MAX_HEADER_BYTES: Final = 16 * 1024
_MAX_CONNECTIONS: Final = 1024

Peer = tuple[str, int]


class ListeningSocket(socket.socket):
    """A socket that remembers the connections made on it: they are bounded, and cut when time is up.

    Where there are too many, the oldest that has no request under way goes: who sends a request slowly, or
    keeps a connection for later, takes no place from who asks now.
    """

    def __init__(self, family: int, kind: int, protocol: int, limit: int | None = None) -> None:
        super().__init__(family, kind, protocol)
        self._limit: Final = limit or most_connections()
        self._accepted: Final[weakref.WeakValueDictionary[Peer, socket.socket]] = (
            weakref.WeakValueDictionary()
        )
        self._answering: Final[Counter[Peer]] = Counter()

    def accept(self) -> tuple[socket.socket, Any]:
        """Take one connection."""
        connection, address = super().accept()
        while len(self._accepted) >= self._limit:
            waiting = next((peer for peer in self._accepted if not self._answering[peer]), None)
            if waiting is None:
                _shut(connection)
                break
            _shut(self._accepted.pop(waiting))
        self._accepted[address[:2]] = connection
        return connection, address

    @contextlib.contextmanager
    def answering(self, peer: Peer) -> Iterator[None]:
        """Keep a connection while its request is answered."""
        self._answering[peer] += 1
        try:
            yield
        finally:
            self._answering[peer] -= 1
            if not self._answering[peer]:
                del self._answering[peer]

    def cut(self) -> None:
        """End every connection that is still open, whatever was left to say."""
        for connection in list(self._accepted.values()):
            _shut(connection)


def most_connections() -> int:
    """Return how many connections are taken at a time: never all the files that this process may open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(_MAX_CONNECTIONS, files // 2))


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the peer was quicker
        connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket. ``port`` is the real one, also when 0 was asked for."""

    socket: ListeningSocket
    host: str
    port: int

    @property
    def url(self) -> str:
        """The address a browser on this machine can open."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - read, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def listen(host: str, port: int) -> Listener:
    """Bind ``host`` and ``port`` (0: any free one). Raises Misconfigured, naming the setting to change."""
    if not 0 <= port <= 65535:
        # getaddrinfo takes the number modulo 65536 and says nothing.
        raise Misconfigured(f"http.port {port} is not a port: allowed are 0 (any free one) to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise Misconfigured(f"http.host {host!r} is not an address of this machine: {error}") from error
    bound = ListeningSocket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PEER_TIMEOUT_MS)
        bound.bind(address)
        # Listening now, not later, is what makes a second program on the port show at once.
        bound.listen(100)
        bound.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    except OSError as error:
        bound.close()
        raise Misconfigured(_why_not(host, port, error)) from error
    return Listener(bound, host, int(bound.getsockname()[1]))


async def serve(
    app: Starlette,
    host: str,
    port: int,
    shutdown: asyncio.Event,
    *,
    on_listening: Callable[[Listener], None] | None = None,
) -> None:
    """Bind and serve until ``shutdown`` is set. Raises Misconfigured when the port cannot be had.

    ``on_listening`` is called once connections are taken, with the real port.
    """
    listener = listen(host, port)
    if on_listening is not None:
        on_listening(listener)
    await serve_on(app, listener, shutdown)


async def serve_on(app: Starlette, listener: Listener, shutdown: asyncio.Event) -> None:
    """Serve on a bound socket until ``shutdown`` is set, then end live streams and finish open requests.

    The socket belongs to the server from here on.
    """
    config = _Config(listener.socket)
    loop = asyncio.get_running_loop()

    async def stop() -> None:
        await shutdown.wait()
        await app.state.streams.close()
        # Cutting lets the server finish by itself: its own limit only cancels, and a cancelled request would
        # still wait for a peer that never reads the rest of its answer.
        loop.call_later(_DRAIN_S, listener.socket.cut)

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        with listener.socket.answering(tuple(scope.get("client") or ("", 0))):
            await app(scope, receive, send)

    try:
        # Starlette's and hypercorn's ASGI types describe the same calls with different names.
        await hypercorn.asyncio.serve(cast("Any", bounded), config, shutdown_trigger=stop)
    finally:
        listener.socket.cut()
        listener.socket.close()


class _Config(Config):
    """Hypercorn's settings, with a socket that is already bound."""

    def __init__(self, bound: "ListeningSocket") -> None:
        super().__init__()
        self.errorlog = logging.getLogger("hypercorn.error")
        self.include_server_header = False
        self.keep_alive_timeout = _HEADERS_WITHIN_S
        self.h11_max_incomplete_size = _MAX_HEADER_BYTES
        self.graceful_timeout = _DRAIN_S + 2
        self._bound = bound

    def create_sockets(self) -> Sockets:
        return Sockets(secure_sockets=[], insecure_sockets=[self._bound], quic_sockets=[])


def _why_not(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {port} on {host} is in use by another program: "
                f"set http.port to a free port, or stop that program"
            )
        case errno.EACCES:
            return f"port {port} needs more rights than this user has: set http.port to 1024 or higher"
        case errno.EADDRNOTAVAIL:
            return (
                f"{host} is not an address of this machine: set http.host to 127.0.0.1, or to one of its own"
            )
        case _:
            return f"cannot listen on {host} port {port} ({error.strerror}): check http.host and http.port"
