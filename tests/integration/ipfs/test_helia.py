"""Helia, the JavaScript implementation of IPFS, and this node fetch from each other."""

import asyncio

import pytest

from node.publisher.fetching.bitswap import BitswapSource
from node.publisher.fetching.download import fetch
from node.publisher.unixfs import Layout, cid_of
from tests.integration.ipfs.helia_peer import helia
from tests.integration.ipfs.nodes import address, contents, make_tree, peer, publish, stored, wanted

pytestmark = pytest.mark.integration

FETCH_S = 60
HELIAS_LAYOUT = Layout(chunk_bytes=1 << 20, links_per_node=1024)
"""What Helia's importer does unless it is told otherwise."""


async def test_helia_fetches_a_published_result_over_tcp(tmp_path):
    tree = make_tree(tmp_path / "tree")
    async with peer(tmp_path / "node") as node, helia(tmp_path / "helia") as other:
        root = publish(node, tree)
        await other.connect(address(node))
        await other.download(root.to_cid(), tmp_path / "fetched")
        assert contents(tmp_path / "fetched") == contents(tree)
        stats = await node.stats()
        assert stats.served_blocks == len(stored(node.store))
        assert stats.refused_messages == 0


async def test_a_tree_of_helias_is_downloaded_from_it(tmp_path):
    tree = make_tree(tmp_path / "tree")
    async with peer(tmp_path / "node") as node, helia(tmp_path / "helia") as other:
        cid = await other.add(tree)
        async with asyncio.timeout(FETCH_S):
            await fetch([], cid, tmp_path / "fetched", peers=[BitswapSource(node, [other.address])])
        assert contents(tmp_path / "fetched") == contents(tree)
        # Helia's own importer is our second opinion on the CID.
        assert cid == cid_of(tree, HELIAS_LAYOUT)
        stats = await node.stats()
        assert stats.unsolicited_blocks == 0
        assert stats.refused_messages == 0


async def test_what_helia_fetched_from_one_node_another_node_fetches_from_helia(tmp_path):
    tree = make_tree(tmp_path / "tree")
    async with (
        peer(tmp_path / "a") as first,
        peer(tmp_path / "b") as second,
        helia(tmp_path / "helia") as other,
    ):
        root = publish(first, tree)
        await other.connect(address(first))
        await other.download(root.to_cid(), tmp_path / "fetched")
        async with asyncio.timeout(FETCH_S):
            await fetch([], root.to_cid(), tmp_path / "copy", peers=[BitswapSource(second, [other.address])])
        assert cid_of(tmp_path / "copy") == root.to_cid()
        assert (await first.stats()).served_blocks == len(stored(first.store))


async def test_what_helia_asked_for_too_early_it_gets_as_soon_as_it_is_published(tmp_path):
    tree = make_tree(tmp_path / "tree")
    async with peer(tmp_path / "node") as node, helia(tmp_path / "helia") as other:
        await other.connect(address(node))
        asking = asyncio.create_task(other.download(cid_of(tree), tmp_path / "fetched"))
        await wanted(node)
        publish(node, tree)
        # Helia does not ask again.
        await asking
        assert contents(tmp_path / "fetched") == contents(tree)
