"""What runs in the trio thread: the host, bitswap over it, and the DHT if bootstrap peers are known."""

from collections.abc import Callable, Iterable
from pathlib import Path

import trio

from node.errors import Misconfigured, NodeError
from node.publisher.blockstore import BlockStore
from node.publisher.cid import BlockId
from node.publisher.p2p.embedded import PeerSettings, PeerStats, Sink
from node.publisher.p2p.errors import PeerUnreachable
from node.publisher.p2p.exchange import Exchange
from node.publisher.p2p.host import Host
from node.publisher.p2p.identity import load_or_create
from node.publisher.p2p.providers import Providers
from node.publisher.p2p.server import Server

MAX_FETCHES = 4
"""At once; others wait. Each may keep two dozen blocks in memory."""


class Service:
    """The running peer. All methods run in trio."""

    def __init__(self, host: Host, exchange: Exchange, providers: Providers | None) -> None:
        self._host = host
        self._exchange = exchange
        self._providers = providers
        self._fetches = trio.Semaphore(MAX_FETCHES)

    @property
    def peer_id(self) -> str:
        """This node's peer id."""
        return self._host.peer_id

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses under which peers reach this node."""
        return self._host.addresses()

    async def connect(self, address: str) -> str:
        """Connect to a peer and return its id."""
        return await self._host.connect(address)

    async def fetch(self, block_ids: Iterable[BlockId], addresses: Iterable[str], sink: Sink) -> None:
        """Fetch blocks from those of the peers that can be reached."""
        reached: list[str] = []
        unreached: list[NodeError] = []

        async def connect(address: str) -> None:
            try:
                peer = await self._host.connect(address)
            except (PeerUnreachable, Misconfigured) as error:
                unreached.append(error)
            else:
                if peer not in reached:
                    reached.append(peer)

        async with self._fetches:
            async with trio.open_nursery() as nursery:
                for address in addresses:
                    nursery.start_soon(connect, address)
            if not reached:
                raise unreached[0] if unreached else PeerUnreachable("no peer was named to fetch from")
            await self._exchange.client.fetch(block_ids, reached, sink)

    async def provide(self, block_id: BlockId) -> bool:
        """Tell the DHT that this node has a block."""
        return self._providers is not None and await self._providers.provide(block_id)

    async def stats(self) -> PeerStats:
        """Return what has been done so far."""
        served, client = self._exchange.server.served, self._exchange.client
        return PeerStats(
            peers=len(self._host.peers()),
            served_blocks=served.blocks,
            served_bytes=served.payload_bytes,
            absent=served.absent,
            waiting_wants=len(self._exchange.server.ledger.waiting),
            received_blocks=client.received_blocks,
            received_bytes=client.received_bytes,
            unsolicited_blocks=self._exchange.unsolicited_blocks,
            refused_messages=self._exchange.refused_messages,
            slow_readers=served.slow_readers,
            broken_streams=served.broken_streams,
            contained_faults=self._host.contained_faults,
            bootstrap_problems=() if self._providers is None else self._providers.problems,
        )


async def run_service(
    store: BlockStore, key_file: Path, settings: PeerSettings, on_up: Callable[[Service], None]
) -> None:
    """Run until cancelled. Raises Misconfigured or P2pUnavailable if it cannot, and whatever breaks later."""
    key_pair = await trio.to_thread.run_sync(load_or_create, key_file)
    host = Host(key_pair, settings.announce)
    exchange = Exchange(host, Server(store))
    async with host.run(settings.listen), trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run)
        providers = None
        if settings.bootstrap:
            providers = Providers(host, settings.bootstrap)
            nursery.start_soon(providers.run)
        on_up(Service(host, exchange, providers))
