"""Yamux with bounds on what peers can make this node keep: unread bytes, streams, dead connections.

py-libp2p only warns when a peer sends beyond the window that it was given, lets windows grow to 16 MiB, and
gives back twice some of what was read.
"""

import struct
from contextlib import suppress
from weakref import WeakSet

import trio
from libp2p.abc import IMuxedConn, IMuxedStream, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import IOException
from libp2p.network.connection.exceptions import RawConnError
from libp2p.peer.id import ID
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux import yamux

from node.publisher.p2p.containment import Containment

MAX_STREAMS_PER_CONNECTION = 64
MAX_UNREAD_PER_CONNECTION = 2 << 20
MAX_UNREAD = 16 << 20
"""Bytes that peers have sent and nobody has read yet, on all connections of a host together."""
WINDOW_BYTES = 1 << 20
PING_EVERY_S = 10.0
PING_PATIENCE_S = 15.0
"""A peer that left without a word is noticed after both."""

_PING = struct.Struct(yamux.YAMUX_HEADER_FORMAT)

# The largest receive window that a stream grows to; py-libp2p has no other way to set it than this constant.
yamux.MAX_WINDOW_SIZE = WINDOW_BYTES


class ExactStream(yamux.YamuxStream):
    """A yamux stream whose window never grows beyond its target.

    py-libp2p ends a connection on a frame larger than the largest window. js-libp2p puts all that its window
    allows into one frame, so a window that is a few bytes too large ends the connection with it.
    """

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:  # noqa: ARG002 - it counts
        # Told of no bytes, py-libp2p fills the window up to its target once half of it is used.
        await super()._auto_tune_and_send_window_update()


# py-libp2p makes the streams of a connection by this name; it takes no other class.
yamux.YamuxStream = ExactStream  # type: ignore[misc]


class BoundedMuxer(MuxerMultistream):
    """Makes the yamux connections of one host, and counts what is unread on all of them.

    py-libp2p makes yamux connections of its own class whatever class it is given: hence another maker.
    """

    def __init__(self, containment: Containment) -> None:
        super().__init__({TProtocol(yamux.PROTOCOL_ID): BoundedYamux})
        self.containment = containment
        self.unread: dict[int, int] = {}
        self._connections: WeakSet[BoundedYamux] = WeakSet()

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        """Return a connection over a secured one, when yamux is agreed on."""
        protocol, _ = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        connection = BoundedYamux(conn, peer_id, is_initiator=conn.is_initiator, on_close=_nothing)
        connection.muxer = self
        self._connections.add(connection)
        return self._annotate_connection(connection, conn, protocol)

    async def close_all(self) -> None:
        """Close the sockets of connections that are left."""
        for connection in list(self._connections):
            await connection.secured_conn.close()

    def exceeded(self, connection: int, unread: int) -> bool:
        """Note a connection's unread bytes; return whether they are more than it may have."""
        self.unread[connection] = unread
        if unread > MAX_UNREAD_PER_CONNECTION:
            return True
        return unread > MAX_UNREAD // len(self.unread) and sum(self.unread.values()) > MAX_UNREAD


class BoundedYamux(yamux.Yamux):
    """A yamux connection that is closed when its peer sends much more than is read."""

    muxer: BoundedMuxer
    _heard = False

    async def start(self) -> None:
        """Read frames and watch over the connection until it ends, which is no error."""
        try:
            await super().start()
        except Exception as error:  # noqa: BLE001 - whatever a peer's frames break ends this connection alone
            self.muxer.containment.note(error)
            # Who adds the connection waits for its start, even if that has failed.
            self.event_started.set()
            await self._cleanup_on_error()

    async def _measure_rtt_loop(self) -> None:
        """Ping the peer, and end the connection when it neither answers nor sends any data."""
        while True:
            with trio.move_on_after(PING_EVERY_S):
                await self.event_shutting_down.wait()
            if self.event_shutting_down.is_set():
                return
            self._ping_id = (self._ping_id + 1) % (1 << 32)
            self._ping_event = trio.Event()
            self._heard = False
            with trio.move_on_after(PING_PATIENCE_S), suppress(IOException, RawConnError):
                self._ping_sent_time = trio.current_time()
                await self._write_frame(_PING.pack(0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, self._ping_id))
                await self._ping_event.wait()
            if not self._ping_event.is_set() and not self._heard:
                await self._cleanup_on_error()

    async def _read_data_body(self, length: int) -> bytes:
        self._heard = True
        if self.muxer.exceeded(id(self), length + sum(map(len, self.stream_buffers.values()))):
            self.event_shutting_down.set()
            raise RawConnError("the peer has sent more than its windows allow")
        return await super()._read_data_body(length)

    def _finalize_stream_locked(self, stream: yamux.YamuxStream, *, fully_closed: bool) -> None:
        # py-libp2p keeps what was sent on a stream that has been reset for a minute; nobody will read it.
        if stream.reset_received and stream.stream_id in self.stream_buffers:
            self.stream_buffers[stream.stream_id].clear()
        super()._finalize_stream_locked(stream, fully_closed=fully_closed)

    async def accept_stream(self) -> IMuxedStream:
        """Return the next stream of the peer; those beyond the bound are reset."""
        while True:
            stream = await super().accept_stream()
            if len(self.streams) <= MAX_STREAMS_PER_CONNECTION:
                return stream
            await stream.reset()

    async def handle_incoming(self) -> None:
        """Read frames until the connection ends."""
        try:
            await super().handle_incoming()
        finally:
            self.muxer.unread.pop(id(self), None)


async def _nothing() -> None:
    await trio.lowlevel.checkpoint()
