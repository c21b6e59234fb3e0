"""Provider records in the DHT: by them, peers that have only a CID find this node.

Only where bootstrap peers are configured; a client of the DHT, which answers no queries of others.
"""

from contextlib import suppress

import structlog
import trio
from libp2p.kad_dht import KadDHT
from libp2p.kad_dht.kad_dht import DHTMode
from libp2p.tools.anyio_service import background_trio_service

from node.errors import NodeError
from node.publisher.cid import BlockId
from node.publisher.p2p.errors import P2pUnavailable
from node.publisher.p2p.host import Host, parse_peer

BOOTSTRAP_EVERY_S = 300.0
PROVIDE_TIMEOUT_S = 120.0
ANEW_AFTER_S = 10.0


class Providers:
    """The DHT client."""

    def __init__(self, host: Host, bootstrap: tuple[str, ...]) -> None:
        self._host = host
        self._bootstrap = bootstrap
        self._problems: dict[str, str] = {}
        self._dht = KadDHT(host.libp2p, DHTMode.CLIENT)
        self._log = structlog.get_logger()
        self._joined = trio.Event()
        self._provided: dict[BlockId, None] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        """Why bootstrap peers are not connected, a text for each; each was logged when it began."""
        return tuple(self._problems.values())

    async def run(self) -> None:
        """Stay connected to the bootstrap peers, for ever; what was provided is renewed by the DHT client.

        The client breaks on what some peers answer. Then another one takes its place and is told what was
        provided; the rest of this node never notices.
        """
        while True:
            try:
                async with background_trio_service(self._dht):
                    await self._stay_joined()
            except Exception as error:  # noqa: BLE001 - py-libp2p: those of every layer
                self._log.warning("ipfs_dht_began_anew", problem=type(error).__name__)
            self._dht = KadDHT(self._host.libp2p, DHTMode.CLIENT)
            self._joined = trio.Event()
            await trio.sleep(ANEW_AFTER_S)

    async def _stay_joined(self) -> None:
        untold = list(self._provided)
        while True:
            for address in self._bootstrap:
                await self._join(address)
            if self._joined.is_set():
                untold = [block_id for block_id in untold if not await self._tell_again(block_id)]
            await trio.sleep(BOOTSTRAP_EVERY_S)

    async def _join(self, address: str) -> None:
        try:
            peer_id = parse_peer(address).peer_id
            await self._host.connect(address)
            await self._dht.add_peer(peer_id, skip_server_mode_check=True)
        except Exception as error:  # noqa: BLE001 - of py-libp2p too: no bootstrap peer may end the node
            problem = str(error) if isinstance(error, NodeError) else f"{address}: {type(error).__name__}"
            if self._problems.get(address) != problem:
                self._log.warning("ipfs_bootstrap_peer", address=address, problem=problem)
            self._problems[address] = problem
        else:
            self._problems.pop(address, None)
            self._joined.set()

    async def provide(self, block_id: BlockId) -> bool:
        """Put a provider record for a block; return whether a peer took it within two minutes.

        Raises P2pUnavailable for whatever py-libp2p breaks with.
        """
        with trio.move_on_after(PROVIDE_TIMEOUT_S) as patience:
            await self._joined.wait()
            taken = await self._tell(block_id)
            if taken:
                self._provided[block_id] = None
        return not patience.cancelled_caught and taken

    async def _tell_again(self, block_id: BlockId) -> bool:
        with trio.move_on_after(PROVIDE_TIMEOUT_S), suppress(P2pUnavailable):
            return await self._tell(block_id)
        return False

    async def _tell(self, block_id: BlockId) -> bool:
        try:
            return await self._dht.provide(block_id.to_cid())
        except Exception as error:
            raise P2pUnavailable(f"the DHT could not be told ({type(error).__name__})") from error
