"""Who is let in: bounds on connections that others open, altogether and for each address.

py-libp2p counts a connection until the host stops, also one that was closed long ago, and knows no bound for
one address; so this takes its place.
"""

import ipaddress
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio
from libp2p.abc import IMuxedConn
from libp2p.network.connection.raw_connection import RawConnection
from multiaddr import Multiaddr

from node.publisher.p2p.containment import quietly

MAX_PER_ADDRESS = 32
"""Connections from one address: several peers can stand behind one router."""
MAX_UNFINISHED = 48
MAX_UNFINISHED_PER_ADDRESS = 8
"""Connections that have not shown yet who they are; they have ``HANDSHAKE_S`` for it, less if others come."""
HANDSHAKE_S = 5.0
_LOOK_AGAIN_S = 1.0


class Unfinished:
    """The handshakes under way, in the order of their beginning.

    An address has a few places; who comes from another one is let in though all are taken, or a few addresses
    could keep everybody out with silent connections. Then the oldest of the address that has most has to go.
    """

    def __init__(self) -> None:
        self._scopes: dict[str, list[trio.CancelScope]] = {}

    @contextmanager
    def one_more(self, place: str) -> Iterator[None]:
        """Give a place, and cancel what is done within when another address needs it."""
        if sum(map(len, self._scopes.values())) >= MAX_UNFINISHED:
            self._drop_oldest(max(self._scopes, key=lambda other: len(self._scopes[other])))
        with trio.CancelScope() as scope:
            self._scopes.setdefault(place, []).append(scope)
            try:
                yield
            finally:
                self._forget(place, scope)

    def has_place(self, place: str) -> bool:
        """Whether an address has not used up its own share."""
        return len(self._scopes.get(place, ())) < MAX_UNFINISHED_PER_ADDRESS

    def _drop_oldest(self, place: str) -> None:
        oldest = self._scopes[place][0]
        oldest.cancel()
        self._forget(place, oldest)

    def _forget(self, place: str, scope: trio.CancelScope) -> None:
        scopes = self._scopes.get(place, [])
        if scope in scopes:
            scopes.remove(scope)
            if not scopes:
                del self._scopes[place]


class Inbound:
    """Takes or refuses connections for one network of py-libp2p."""

    def __init__(self, network: Any, max_connections: int) -> None:
        self._network = network
        self._max_connections = max_connections
        self._open: Counter[str] = Counter()
        self._unfinished = Unfinished()

    async def handle(self, connection: Any, listening_on: Multiaddr) -> None:
        """Stay with a connection until it has ended: py-libp2p closes its socket after this."""
        place = _place(connection.get_remote_address())
        muxed = None
        try:
            # Refusing costs next to nothing, and an address that does this keeps out only itself.
            if not self._is_full(place) and self._unfinished.has_place(place):
                muxed = await self._upgraded(connection, listening_on, place)
            if muxed is None or self._is_full(place):
                return
            self._open[place] += 1
            try:
                while self._is_registered(muxed):  # noqa: ASYNC110 - py-libp2p tells no end of all transports
                    await trio.sleep(_LOOK_AGAIN_S)
            finally:
                _subtract(self._open, place)
        except Exception as error:
            logging.getLogger(__name__).debug("handshake", exc_info=error)
        finally:
            await quietly((muxed or connection).close)

    def _is_full(self, place: str) -> bool:
        return self._open.total() >= self._max_connections or self._open[place] >= MAX_PER_ADDRESS

    async def _upgraded(self, connection: Any, listening_on: Multiaddr, place: str) -> Any:
        """Return the connection as one for streams, None if its handshake had to make room for another."""
        if isinstance(connection, IMuxedConn):  # QUIC: the handshake was done in its own listener
            await self._network.add_conn(connection, direction="inbound")
            return connection
        muxed = None
        with self._unfinished.one_more(place):
            muxed = await self._network.upgrade_inbound_raw_conn(
                RawConnection(connection, initiator=False), listening_on
            )
        return muxed  # noqa: RET504 - cancelling ends the block before it returns anything

    def _is_registered(self, muxed: Any) -> bool:
        return any(known.muxed_conn is muxed for known in self._network.get_connections(muxed.peer_id))


def _subtract(counter: Counter[str], place: str) -> None:
    counter[place] -= 1
    if not counter[place]:
        del counter[place]


def _place(remote: tuple[str, int] | None) -> str:
    """Return what counts as one address: with IPv6, the network that a subscriber has."""
    if remote is None:
        return ""
    address = ipaddress.ip_address(remote[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
