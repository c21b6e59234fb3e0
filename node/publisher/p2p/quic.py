"""QUIC connections that stay up while somebody is there, and say goodbye; streams that are stopped for good.

py-libp2p waits ten minutes for a peer that left without a word, sends none itself when it is cancelled, and
leaves the peer's half of a stream open when it resets it.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import trio
from libp2p.abc import INetStream
from libp2p.crypto.keys import KeyPair
from libp2p.transport.quic import connection, transport
from libp2p.transport.quic.config import QUICTransportConfig
from libp2p.transport.quic.stream import QUICStream

from node.publisher.p2p.muxer import MAX_STREAMS_PER_CONNECTION, WINDOW_BYTES

IDLE_S = 20.0
"""A peer from which nothing came for so long is gone. If it asks for less, that counts."""
PING_EVERY_S = 7.0
_CLOSE_STREAMS_S = 1


class PoliteConnection(connection.QUICConnection):
    """A connection whose end the peer is told, also when this node is stopping."""

    async def close(self) -> None:
        """Close the streams, say goodbye, and give back the socket."""
        with trio.CancelScope(shield=True):
            await super().close()


# py-libp2p makes connections by these names; it takes no other class.
connection.QUICConnection = PoliteConnection  # type: ignore[misc]
transport.QUICConnection = PoliteConnection  # type: ignore[attr-defined]


def quic_transport(key_pair: KeyPair, max_connections: int) -> transport.QUICTransport:
    """Return the transport for a host with this key."""
    config = QUICTransportConfig(
        max_connections=max_connections,
        max_concurrent_streams=MAX_STREAMS_PER_CONNECTION,
        connection_window=WINDOW_BYTES,
        enable_draft29=False,
        idle_timeout=IDLE_S,
        CONNECTION_CLOSE_TIMEOUT=_CLOSE_STREAMS_S,
    )
    return transport.QUICTransport(key_pair.private_key, config=config)


async def keep_up(
    network: Any, contained: Callable[[Callable[..., Awaitable[object]]], Callable[..., Awaitable[None]]]
) -> None:
    """Ping the peers of all QUIC connections of a network, for ever; yamux has its own pings."""
    ping = contained(_ping)
    while True:
        await trio.sleep(PING_EVERY_S)
        for known in network.get_connections():
            if isinstance(known.muxed_conn, PoliteConnection) and not known.muxed_conn.is_closed:
                await ping(known.muxed_conn)


def ask_to_stop(stream: INetStream) -> None:
    """Have the other end stop sending on a stream that is about to be reset.

    Over QUIC a reset ends only this side's half; py-libp2p would go on to take what comes, and look for a
    protocol in the middle of it. Yamux resets both.
    """
    muxed = cast("Any", stream).muxed_stream
    if isinstance(muxed, QUICStream):
        with suppress(ValueError, AssertionError):  # it has ended already
            muxed._connection._quic.stop_stream(int(muxed.stream_id), 0)  # noqa: SLF001 - no other way


async def _ping(known: PoliteConnection) -> None:
    known._quic.send_ping(0)  # noqa: SLF001 - py-libp2p has no ping of its own for QUIC
    await known._transmit()  # noqa: SLF001
