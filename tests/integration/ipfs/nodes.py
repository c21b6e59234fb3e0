"""Embedded nodes for tests, each with a store of its own, and what to do with them."""

import asyncio
import hashlib
import os
from contextlib import asynccontextmanager

from node.publisher.blockstore import BlockStore
from node.publisher.cid import RAW
from node.publisher.dag import children, parse
from node.publisher.p2p.embedded import EmbeddedNode, PeerSettings
from node.publisher.unixfs import import_tree

LISTEN = ("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1")


@asynccontextmanager
async def peer(directory, **settings):
    """Run an embedded node; ``node.store`` is its store."""
    store = BlockStore(directory / "store", floor_bytes=0)
    node = EmbeddedNode(store, directory / "peer.key", PeerSettings(**{"listen": LISTEN, **settings}))
    node.store = store
    async with node:
        assert node.problem is None
        yield node


def address(node, transport="tcp"):
    return next(text for text in node.addresses() if f"/{transport}/" in text)


def make_tree(path, size_bytes=3_000_000):
    """Make a directory as a result is one: large and small files, and empty ones."""
    path.mkdir(parents=True)
    (path / "video.webp").write_bytes(os.urandom(size_bytes))
    (path / "stdout").write_bytes(b"")
    (path / "stills").mkdir()
    (path / "stills" / "0.png").write_bytes(os.urandom(1000))
    return path


def contents(path):
    """Return the names and the hashes of what is in a tree."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return {inner.name: contents(inner) for inner in path.iterdir()}


def publish(node, path):
    with node.store.writer() as writer:
        return import_tree(path, writer)


class Collector:
    """A sink that follows links and keeps what came."""

    def __init__(self):
        self.blocks = {}

    def __call__(self, block_id, block):
        assert block_id not in self.blocks, "came twice"
        self.blocks[block_id] = block
        return () if block_id.codec == RAW else children(parse(block_id, block))

    @property
    def size_bytes(self):
        return sum(map(len, self.blocks.values()))


async def arrived(collector, count, fetch):
    """Wait until ``count`` blocks have come; a fetch that ends before that fails the test."""
    async with asyncio.timeout(30):
        while len(collector.blocks) < count:
            assert not fetch.done(), fetch
            await asyncio.sleep(0.001)


async def wanted(node):
    """Wait until a peer has asked for a block that the node lacks."""
    async with asyncio.timeout(30):
        while not (await node.stats()).waiting_wants:
            await asyncio.sleep(0.02)


def stored(store):
    return {digest for digest, _ in store.stored()}


def digests(collector):
    return {block_id.digest for block_id in collector.blocks}
