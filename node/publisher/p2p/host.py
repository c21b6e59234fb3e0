"""The libp2p host: TCP and QUIC, noise, yamux, identify; what peers may cost is bounded here.

py-libp2p's defaults also offer plaintext and older security, keep looking for peers to connect to, and let a
peer send beyond its yamux window; none of that is used here.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import trio
from libp2p import new_host
from libp2p.abc import IHost, INetConn, INetStream, INetwork, INotifee
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as new_noise_key
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.transport.tcp.tcp import TCP
from multiaddr import Multiaddr

from node.errors import Misconfigured
from node.publisher.p2p.containment import Containment
from node.publisher.p2p.errors import P2pUnavailable, PeerUnreachable
from node.publisher.p2p.inbound import HANDSHAKE_S, Inbound
from node.publisher.p2p.muxer import BoundedMuxer
from node.publisher.p2p.negotiation import PatientMultiselect
from node.publisher.p2p.quic import keep_up, quic_transport

MAX_CONNECTIONS = 96
DIAL_TIMEOUT_S = 15.0
CLOSE_TIMEOUT_S = 3.0


def parse_address(text: str) -> Multiaddr:
    """Return a listen or announce address. Raises Misconfigured, saying what is allowed."""
    try:
        address = Multiaddr(text)
        names = [protocol.name for protocol in address.protocols()]
    except Exception:  # noqa: BLE001 - each protocol's parser fails in its own way
        names = []
    if names[:2] not in ([ip, "tcp"] for ip in ("ip4", "ip6", "dns", "dns4", "dns6")) and names[:3] not in (
        [ip, "udp", "quic-v1"] for ip in ("ip4", "ip6", "dns", "dns4", "dns6")
    ):
        raise Misconfigured(
            f"{text[:120]!r} is no address of a peer: allowed are those like /ip4/0.0.0.0/tcp/4001 and "
            "/ip4/0.0.0.0/udp/4001/quic-v1"
        )
    return address


def parse_peer(text: str) -> PeerInfo:
    """Return the peer that an address with ``/p2p/<peer id>`` at its end names. Raises Misconfigured."""
    address = parse_address(text)
    try:
        return info_from_p2p_addr(address)
    except Exception:  # noqa: BLE001 - as above
        raise Misconfigured(f"{text[:120]!r} names no peer: it must end with /p2p/ and a peer id") from None


class Host:
    """One libp2p host. Everything here runs in trio."""

    def __init__(self, key_pair: KeyPair, announce: Sequence[str] = ()) -> None:
        # What peers do wrong is no news for the operator, and they could fill the log with it.
        for library in ("libp2p", "quic"):
            logging.getLogger(library).setLevel(logging.CRITICAL)
        connections = ConnectionConfig(
            max_connections=MAX_CONNECTIONS,
            min_connections=0,
            low_watermark=0,
            high_watermark=MAX_CONNECTIONS,
            max_connections_per_peer=2,
            dial_timeout=DIAL_TIMEOUT_S,
            inbound_upgrade_timeout=HANDSHAKE_S,
        )
        self._containment = Containment()
        self._muxer = BoundedMuxer(self._containment)
        noise = NoiseTransport(key_pair, noise_privkey=new_noise_key().private_key)
        self._host: IHost = new_host(
            key_pair=key_pair,
            sec_opt={TProtocol(NOISE): noise},
            transports=[TCP(), quic_transport(key_pair, MAX_CONNECTIONS)],
            connection_config=connections,
            announce_addrs=[parse_address(text) for text in announce] or None,
        )
        host = cast("Any", self._host)
        network = host.get_network()
        self._containment.contain_network(network)
        self._containment.contain_identify(host)
        network.upgrader.muxer_multistream = self._muxer
        inbound = Inbound(network, MAX_CONNECTIONS)
        handle = self._containment.around(inbound.handle)
        network._handle_inbound_connection = handle  # noqa: SLF001 - no other way to bound it
        host.multiselect = PatientMultiselect(host.multiselect.handlers)
        # It would dial whoever was connected before, also those that this node has cut off.
        network.auto_connector.start = trio.lowlevel.checkpoint

    @property
    def libp2p(self) -> IHost:
        """The host of py-libp2p, for what builds on it."""
        return self._host

    @property
    def contained_faults(self) -> int:
        """How often py-libp2p broke on what a peer did, which ended that peer's stream or connection."""
        return self._containment.faults

    @property
    def peer_id(self) -> str:
        """This node's peer id."""
        return self._host.get_id().to_base58()

    @asynccontextmanager
    async def run(self, listen: Sequence[str]) -> AsyncIterator[None]:
        """Listen while the context lasts. Raises P2pUnavailable if an address cannot be listened on."""
        addresses = [parse_address(text) for text in listen]
        async with self._host.run(listen_addrs=addresses):
            listening = {str(address) for address in self._host.get_network().listeners}
            if missing := [
                text for text, address in zip(listen, addresses, strict=True) if str(address) not in listening
            ]:
                raise P2pUnavailable(
                    f"cannot listen on {', '.join(missing)}: is another IPFS node there? Set ipfs.listen"
                )
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(keep_up, self._host.get_network(), self._containment.around)
                    yield
                    nursery.cancel_scope.cancel()
            finally:
                # Cancelling alone would leave the sockets of QUIC open.
                with trio.move_on_after(CLOSE_TIMEOUT_S) as scope:
                    scope.shield = True
                    await self._host.close()
                    await self._muxer.close_all()

    def serve(self, protocols: Sequence[str], handler: Callable[[INetStream], Awaitable[None]]) -> None:
        """Have streams of these protocols handled."""
        for protocol in protocols:
            self._host.set_stream_handler(TProtocol(protocol), handler)

    def on_gone(self, callback: Callable[[str], object]) -> None:
        """Have it told whenever the last connection to a peer has ended."""
        self._host.get_network().register_notifee(_Gone(callback))

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses under which peers reach this node, with its peer id."""
        return tuple(str(address) for address in self._host.get_addrs())

    def peers(self) -> tuple[str, ...]:
        """Return who is connected."""
        return tuple(peer.to_base58() for peer in self._host.get_connected_peers())

    async def connect(self, address: str) -> str:
        """Connect to a peer and return its id. Raises Misconfigured or PeerUnreachable."""
        info = parse_peer(address)
        if info.peer_id == self._host.get_id():
            raise Misconfigured(f"{address} is this node itself")
        try:
            with trio.fail_after(DIAL_TIMEOUT_S):
                # It would refuse for a minute to dial who was not reached once, and not say why any more.
                cast("Any", self._host.get_network()).unblock_peer(info.peer_id)
                await self._host.connect(info)
        except Exception as error:  # py-libp2p lets those of every layer through
            raise PeerUnreachable(f"{address} was not reached: {_reason(error)}") from error
        return info.peer_id.to_base58()

    async def open_stream(self, peer: str, protocols: Sequence[str]) -> INetStream:
        """Open a stream to a connected peer. Raises PeerUnreachable."""
        try:
            with trio.fail_after(DIAL_TIMEOUT_S):
                return await self._host.new_stream(_id(peer), [TProtocol(protocol) for protocol in protocols])
        except Exception as error:
            raise PeerUnreachable(f"no stream to {peer}: {_reason(error)}") from error

    async def disconnect(self, peer: str) -> None:
        """Close every connection to a peer."""
        with trio.move_on_after(2) as scope:
            scope.shield = True
            try:
                await self._host.disconnect(_id(peer))
            except Exception as error:  # noqa: BLE001 - it is gone already, or its end is broken
                logging.getLogger(__name__).debug("disconnecting %s: %s", peer, error)


class _Gone(INotifee):
    """Hears of connections from py-libp2p, and tells of those that were a peer's last."""

    def __init__(self, callback: Callable[[str], object]) -> None:
        self._callback = callback

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        peer_id = conn.muxed_conn.peer_id
        if not network.get_connections(peer_id):
            self._callback(peer_id.to_base58())

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        pass

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        pass

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        pass

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        pass

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        pass


def _id(peer: str) -> ID:
    return ID.from_string(peer)


def peer_of(stream: INetStream) -> str:
    """Return who is at the other end of a stream."""
    return cast("ID", cast("Any", stream.muxed_conn).peer_id).to_base58()


def _reason(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
