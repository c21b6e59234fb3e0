"""Bitswap with all peers: reads their streams, and writes to each on a stream of this node's own.

Answers go out on a stream that this node opens, never on the asker's: Kubo does not read there. One task for
each peer writes what it is owed and what is wanted of it; it alone writes, because a write that is cancelled
in the middle breaks the connection.
"""

from contextlib import suppress
from dataclasses import dataclass, field

import trio
from libp2p.abc import INetStream

from node.publisher.errors import BadContent
from node.publisher.p2p.client import Client
from node.publisher.p2p.errors import PeerUnreachable
from node.publisher.p2p.framing import MessageReader, write_message
from node.publisher.p2p.host import Host, peer_of
from node.publisher.p2p.messages import (
    MAX_MESSAGE_BYTES,
    PROTOCOLS,
    Message,
    Version,
    Want,
    decode_message,
    encode_message,
)
from node.publisher.p2p.quic import ask_to_stop
from node.publisher.p2p.server import Server

MAX_WANTLIST_BYTES = 256 << 10
"""A message from a peer of which nothing was asked: about 5,000 wants."""
MAX_STREAMS_PER_PEER = 8
MAX_UNSOLICITED = 64
"""Blocks that nobody asked for, until a peer is cut off; some come late after a cancel."""
WRITE_TIMEOUT_S = 30.0
"""For one message, usually of one block: a peer that takes less than 9 kB/s is cut off."""
IDLE_S = 15.0
"""How long a stream is kept open for the next message."""


@dataclass(slots=True)
class _Peer:
    """What is going on with one peer."""

    name: str
    streams: int = 0
    sending: bool = False
    unsolicited: int = 0
    requests: dict[bytes, Want] = field(default_factory=dict)
    wake: trio.Event = field(default_factory=trio.Event)
    # One message of a peer is in memory at a time, however many streams it opens.
    reading: trio.Lock = field(default_factory=trio.Lock)


class Exchange:
    """Serves a store to peers and fetches from them, while ``run`` runs."""

    def __init__(self, host: Host, server: Server) -> None:
        self._host = host
        self.server = server
        self.client = Client(self._request)
        self._peers: dict[str, _Peer] = {}
        self._nursery: trio.Nursery | None = None
        self.refused_messages = 0
        self.unsolicited_blocks = 0
        host.serve(tuple(PROTOCOLS), self._handle)
        host.on_gone(self._gone)

    async def run(self) -> None:
        """Send to peers whatever is due to them, for ever; what they asked for too early, when it comes."""
        token = trio.lowlevel.current_trio_token()
        written = trio.Event()

        def tell() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(lambda: written.set())  # noqa: PLW0108 - the event that is waited for then

        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            with self.server.watching(tell):
                while True:
                    await written.wait()
                    written = trio.Event()
                    for name in await self.server.come():
                        self._wake(self._peer(name))

    def _gone(self, name: str) -> None:
        self.server.ledger.forget(name)
        self.client.lost(name)

    async def _handle(self, stream: INetStream) -> None:
        peer = self._peer(peer_of(stream))
        if peer.streams >= MAX_STREAMS_PER_PEER:
            self.refused_messages += 1
            await _reset(stream)
            return
        peer.streams += 1
        try:
            await self._read(peer, MessageReader(stream))
            await stream.close()
        except BadContent:
            self.refused_messages += 1
            await _reset(stream)
        except Exception:  # noqa: BLE001 - whatever py-libp2p raises means that this stream has ended
            await _reset(stream)
        finally:
            peer.streams -= 1
            if peer.name not in self._host.peers():
                self._gone(peer.name)
            self._let_go(peer)

    async def _read(self, peer: _Peer, reader: MessageReader) -> None:
        def limit() -> int:
            return MAX_MESSAGE_BYTES if self.client.expects(peer.name) else MAX_WANTLIST_BYTES

        while (length := await reader.next_length(limit)) is not None:
            async with peer.reading:
                self._take(peer, decode_message(await reader.body(length)))
            if peer.unsolicited > MAX_UNSOLICITED:
                await self._cut_off(peer)
                return

    def _take(self, peer: _Peer, message: Message) -> None:
        unsolicited = self.client.receive(peer.name, message)
        peer.unsolicited += unsolicited
        self.unsolicited_blocks += unsolicited
        if (message.wants or message.full) and self.server.ledger.receive(
            peer.name, message.wants, full=message.full
        ):
            self._wake(peer)

    def _request(self, name: str, wants: tuple[Want, ...]) -> None:
        peer = self._peer(name)
        for want in wants:
            # A cancel of what has not been sent yet still goes out: it may have been sent before.
            peer.requests[want.cid] = want
        self._wake(peer)

    def _wake(self, peer: _Peer) -> None:
        peer.wake.set()
        if not peer.sending and self._nursery is not None:
            peer.sending = True
            self._nursery.start_soon(self._send, peer)

    async def _send(self, peer: _Peer) -> None:
        stream: INetStream | None = None
        try:
            while True:
                peer.wake = trio.Event()
                requests = tuple(peer.requests.values())
                peer.requests.clear()
                answer = await self.server.next_answer(peer.name)
                if not requests and answer is None:
                    with trio.move_on_after(IDLE_S) as idle:
                        await peer.wake.wait()
                    if idle.cancelled_caught:
                        break
                    continue
                given = answer.message if answer else Message()
                message = Message(requests, payloads=given.payloads, presences=given.presences)
                if not (message.wants or message.payloads or message.presences):
                    continue
                if stream is None:
                    stream = await self._host.open_stream(peer.name, tuple(PROTOCOLS))
                version = PROTOCOLS.get(str(stream.get_protocol()), Version.V1_0)
                encoded = encode_message(message, version)
                # A peer that reads slowly keeps one copy of what it was sent in memory, not three.
                del answer, given, message
                with trio.fail_after(WRITE_TIMEOUT_S):
                    await write_message(stream, encoded)
            if stream is not None:
                await stream.close()
        except trio.TooSlowError:
            self.server.served.slow_readers += 1
            self._forget(peer)
            await self._cut_off(peer)
        except PeerUnreachable:
            self._forget(peer)
        except Exception:  # noqa: BLE001 - py-libp2p: the stream or the connection has ended, or stalled
            self.server.served.broken_streams += 1
            self._forget(peer)
            if stream is not None:
                await _reset(stream)
        finally:
            peer.sending = False
            self._let_go(peer)
        # Not in the finally: when this node stops, what is due to peers must not start this again.
        if peer.requests or self.server.ledger.next_batch(peer.name, 1):
            # Something came while the stream was being closed.
            self._wake(self._peers.setdefault(peer.name, peer))

    def _forget(self, peer: _Peer) -> None:
        self.server.ledger.forget(peer.name)
        peer.requests.clear()
        self.client.lost(peer.name)

    async def _cut_off(self, peer: _Peer) -> None:
        self._forget(peer)
        await self._host.disconnect(peer.name)

    def _peer(self, name: str) -> _Peer:
        return self._peers.setdefault(name, _Peer(name))

    def _let_go(self, peer: _Peer) -> None:
        if not peer.streams and not peer.sending and not peer.requests:
            self._peers.pop(peer.name, None)


async def _reset(stream: INetStream) -> None:
    ask_to_stop(stream)
    with trio.move_on_after(2), suppress(Exception):  # it may have ended already, in whichever way
        await stream.reset()
