"""Results are announced in the DHT of the configured bootstrap peers."""

import asyncio

import pytest
import trio
from libp2p.kad_dht import KadDHT
from libp2p.kad_dht.kad_dht import DHTMode
from libp2p.tools.anyio_service import background_trio_service

from node.app.ipfs import keep_provided
from node.publisher.cid import parse_cid
from node.publisher.p2p.host import Host
from node.publisher.p2p.identity import load_or_create
from node.publisher.p2p.portal import TrioPortal
from node.publisher.publish import Publisher
from node.types import JobId
from tests.integration.ipfs.nodes import make_tree, peer

pytestmark = pytest.mark.integration


class DhtServer:
    """A peer that keeps provider records for others."""

    def __init__(self, key_file):
        self._key_file = key_file
        self.address = ""

    async def run(self, ready):
        host = Host(load_or_create(self._key_file))
        async with host.run(["/ip4/127.0.0.1/tcp/0"]):
            self._dht = KadDHT(host.libp2p, DHTMode.SERVER)
            async with background_trio_service(self._dht):
                (self.address,) = host.addresses()
                ready()
                await trio.sleep_forever()

    async def providers(self, block_id):
        found = self._dht.provider_store.get_providers(block_id.to_bytes()[2:])
        return [info.peer_id.to_base58() for info in found]


async def test_a_published_result_is_announced_where_bootstrap_peers_are_configured(tmp_path):
    server = DhtServer(tmp_path / "dht.key")
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with TrioPortal("dht") as portal:
        running = asyncio.create_task(portal.call(server.run, lambda: loop.call_soon_threadsafe(ready.set)))
        await asyncio.wait_for(ready.wait(), 60)
        async with peer(tmp_path / "node", bootstrap=(server.address,)) as node:
            publisher = Publisher(node.store)
            root = parse_cid(await publisher.publish(JobId("1"), make_tree(tmp_path / "tree", 1000)))
            providing = asyncio.create_task(keep_provided(node, publisher, every_s=0.1))
            async with asyncio.timeout(30):
                while await portal.call(server.providers, root) != [node.peer_id]:
                    await asyncio.sleep(0.1)
            providing.cancel()
            await asyncio.wait({providing})
        running.cancel()
        await asyncio.wait({running})


async def test_without_bootstrap_peers_nothing_is_announced(tmp_path):
    async with peer(tmp_path / "node") as node:
        publisher = Publisher(node.store)
        root = await publisher.publish(JobId("1"), make_tree(tmp_path / "tree", 1000))
        assert await node.provide(parse_cid(root)) is False
