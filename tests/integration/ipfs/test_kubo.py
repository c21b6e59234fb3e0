"""Kubo and this node fetch from each other."""

import asyncio
import os

import pytest

from node.publisher.cid import parse_cid
from node.publisher.unixfs import CID_V0, cid_of
from tests.integration.ipfs.kubo import kubo
from tests.integration.ipfs.nodes import Collector, address, contents, make_tree, peer, publish, wanted

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_kubo_fetches_a_result_with_an_empty_file(tmp_path, transport):
    tree = make_tree(tmp_path / "tree")
    async with peer(tmp_path / "node") as node, kubo(tmp_path / "kubo") as other:
        root = publish(node, tree)
        await other.connect(address(node, transport))
        await other.download(root.to_cid(), tmp_path / "fetched")
        assert contents(tmp_path / "fetched") == contents(tree)
        assert (await node.stats()).refused_messages == 0


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_file_is_fetched_from_kubo(tmp_path, transport):
    (tmp_path / "file").write_bytes(os.urandom(5_000_000))
    async with peer(tmp_path / "node") as node, kubo(tmp_path / "kubo") as other:
        cid = await other.add(tmp_path / "file")
        sink = Collector()
        await node.fetch([parse_cid(cid)], [other.address(transport)], sink)
        assert sink.size_bytes > 5_000_000
        # Kubo's own importer, in its default format, is our second opinion on the CID.
        assert cid == cid_of(tmp_path / "file", CID_V0)
        assert (await node.stats()).unsolicited_blocks == 0


async def test_three_kubos_fetch_at_once(tmp_path):
    tree = make_tree(tmp_path / "tree", 10_000_000)
    async with (
        peer(tmp_path / "node") as node,
        kubo(tmp_path / "kubo0") as first,
        kubo(tmp_path / "kubo1") as second,
        kubo(tmp_path / "kubo2") as third,
    ):
        root = publish(node, tree)

        async def fetch(other, into):
            await other.connect(address(node))
            await other.download(root.to_cid(), into)
            return contents(into)

        fetched = await asyncio.gather(
            *(fetch(other, tmp_path / f"out{n}") for n, other in enumerate((first, second, third)))
        )
        assert fetched == [contents(tree)] * 3


async def test_what_kubo_fetched_from_one_node_another_node_fetches_from_kubo(tmp_path):
    tree = make_tree(tmp_path / "tree")
    async with (
        peer(tmp_path / "a") as first,
        peer(tmp_path / "b") as second,
        kubo(tmp_path / "kubo") as other,
    ):
        root = publish(first, tree)
        await other.connect(address(first))
        await other.download(root.to_cid(), tmp_path / "fetched")
        sink = Collector()
        await second.fetch([root], [other.address()], sink)
        assert sink.size_bytes > 3_000_000


async def test_what_kubo_asked_for_too_early_it_gets_as_soon_as_it_is_published(tmp_path):
    tree = make_tree(tmp_path / "tree")
    async with peer(tmp_path / "node") as node, kubo(tmp_path / "kubo") as other:
        await other.connect(address(node))
        asking = asyncio.create_task(other.download(cid_of(tree), tmp_path / "fetched"))
        await wanted(node)
        publish(node, tree)
        # Kubo asks again by itself after half a minute.
        async with asyncio.timeout(20):
            await asking
        assert contents(tmp_path / "fetched") == contents(tree)
