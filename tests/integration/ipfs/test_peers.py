"""Embedded nodes among themselves: what is fetched, what is refused, and what a failure does not end."""

import asyncio
import socket

import pytest
import trio

from node.publisher.blockstore import BlockStore, block_file
from node.publisher.cid import RAW, hash_block
from node.publisher.p2p import client, host, inbound, muxer, quic
from node.publisher.p2p.embedded import EmbeddedNode, PeerSettings
from node.publisher.p2p.errors import BlocksNotFound, P2pUnavailable, PeerUnreachable
from node.publisher.p2p.service import Service
from tests.integration.ipfs.nodes import (
    Collector,
    address,
    arrived,
    digests,
    make_tree,
    peer,
    publish,
    stored,
    wanted,
)

pytestmark = pytest.mark.integration
NOWHERE = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWJ12p4CUPtB49wvk5tfBNdTv2jL6DKpZSUEsX6opMPaMq"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_directory_with_an_empty_file_is_fetched_whole(tmp_path, transport):
    async with peer(tmp_path / "a") as provider, peer(tmp_path / "b") as requester:
        root = publish(provider, make_tree(tmp_path / "tree"))
        sink = Collector()
        await requester.fetch([root], [address(provider, transport)], sink)
        assert digests(sink) == stored(provider.store)
        # What is fetched belongs to the sink; this node stores nothing by itself.
        assert stored(requester.store) == set()
        assert (await provider.stats()).served_blocks == len(sink.blocks)


async def test_what_two_peers_have_between_them_is_fetched_from_both(tmp_path):
    async with (
        peer(tmp_path / "a") as first,
        peer(tmp_path / "b") as second,
        peer(tmp_path / "c") as requester,
    ):
        root = publish(first, make_tree(tmp_path / "tree"))
        publish(second, tmp_path / "tree")
        everything = sorted(stored(first.store) - {root.digest})
        with first.store.exclusive(), second.store.exclusive():
            for number, digest in enumerate(everything):
                (first if number % 2 else second).store.discard(digest)
        sink = Collector()
        await requester.fetch([root], [address(first), address(second)], sink)
        assert digests(sink) == {*everything, root.digest}
        assert (await first.stats()).served_blocks > 0
        assert (await second.stats()).served_blocks > 0


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_peers_that_have_left_keep_no_place_from_those_who_come(tmp_path, monkeypatch, transport):
    monkeypatch.setattr(host, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(quic, "IDLE_S", 600.0)
    monkeypatch.setattr(inbound, "_LOOK_AGAIN_S", 0.02)
    async with peer(tmp_path / "a") as provider:
        root = publish(provider, make_tree(tmp_path / "tree", 1000))
        for number in range(2):
            async with peer(tmp_path / f"visitor{number}") as visitor:
                await visitor.fetch([root], [address(provider, transport)], Collector())
            async with asyncio.timeout(60):
                while (await provider.stats()).peers:
                    await asyncio.sleep(0.05)


def cut_the_line(node):
    """Have a node's sockets sent to nowhere and heard from no more, as when a machine loses its network."""
    (connection,) = node._service._host.libp2p.get_network().get_connections()
    muxed = connection.muxed_conn

    async def nothing(*_):
        await trio.lowlevel.checkpoint()

    if hasattr(muxed, "_quic"):
        muxed._transmit = nothing
    else:
        muxed.secured_conn.write = nothing
        muxed.secured_conn.close = nothing


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_who_left_without_a_word_is_noticed_and_who_is_only_quiet_stays(
    tmp_path, monkeypatch, transport
):
    monkeypatch.setattr(quic, "IDLE_S", 4.0)
    monkeypatch.setattr(quic, "PING_EVERY_S", 0.2)
    monkeypatch.setattr(muxer, "PING_EVERY_S", 0.2)
    monkeypatch.setattr(muxer, "PING_PATIENCE_S", 4.0)
    async with (
        peer(tmp_path / "a") as provider,
        peer(tmp_path / "b") as quiet,
        peer(tmp_path / "c") as gone,
    ):
        await quiet.connect(address(provider, transport))
        await gone.connect(address(provider, transport))
        before = quiet._service._host.libp2p.get_network().get_connections()
        assert (await provider.stats()).peers == 2
        cut_the_line(gone)
        async with asyncio.timeout(60):
            while (await provider.stats()).peers == 2:
                await asyncio.sleep(0.05)
        assert quiet._service._host.libp2p.get_network().get_connections() == before
        assert (await provider.stats()).peers == 1


async def test_a_block_that_no_peer_has_is_told_and_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "SILENCE_S", 600.0)
    missing = hash_block(RAW, b"nobody has this")
    async with peer(tmp_path / "a") as provider, peer(tmp_path / "b") as requester:
        with pytest.raises(BlocksNotFound, match=str(missing)):
            await asyncio.wait_for(requester.fetch([missing], [address(provider)], Collector()), 60)


async def nobody_waits(node):
    async with asyncio.timeout(60):
        while (await node.stats()).waiting_wants:
            await asyncio.sleep(0.02)


async def test_a_fetch_that_has_ended_in_vain_leaves_no_want_behind(tmp_path):
    async with peer(tmp_path / "a") as provider, peer(tmp_path / "b") as requester:
        with pytest.raises(BlocksNotFound):
            await requester.fetch([hash_block(RAW, b"later")], [address(provider)], Collector())
        await nobody_waits(provider)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_what_a_peer_waits_for_is_given_up_when_it_leaves(tmp_path, monkeypatch, transport):
    # A client that neither cancels nor gives up, and a node that would wait long for a word from it.
    monkeypatch.setattr(quic, "IDLE_S", 600.0)
    monkeypatch.setattr(client.Session, "lacks", lambda *_: None)
    async with peer(tmp_path / "a") as provider:
        async with peer(tmp_path / "b") as requester:
            asking = asyncio.create_task(
                requester.fetch([hash_block(RAW, b"later")], [address(provider, transport)], Collector())
            )
            await wanted(provider)
        await asyncio.wait({asking})
        await nobody_waits(provider)


async def test_a_damaged_block_is_not_served(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "SILENCE_S", 600.0)
    async with peer(tmp_path / "a") as provider, peer(tmp_path / "b") as requester:
        root = publish(provider, make_tree(tmp_path / "tree"))
        block_file(provider.store.root, root.digest).write_bytes(b"damaged")
        with pytest.raises(BlocksNotFound):
            await asyncio.wait_for(requester.fetch([root], [address(provider)], Collector()), 60)


async def test_one_peer_that_cannot_be_reached_does_not_matter_beside_one_that_can(tmp_path):
    async with peer(tmp_path / "a") as provider, peer(tmp_path / "b") as requester:
        root = publish(provider, make_tree(tmp_path / "tree", 1000))
        sink = Collector()
        await requester.fetch([root], [NOWHERE, address(provider)], sink)
        assert digests(sink) == stored(provider.store)
        with pytest.raises(PeerUnreachable, match="was not reached"):
            await requester.fetch([root], [NOWHERE], Collector())


async def test_bootstrap_peers_that_mean_nothing_or_do_not_answer_are_told_and_the_node_serves(tmp_path):
    nobody = NOWHERE.rpartition("/")[0] + "/notapeer"
    async with peer(tmp_path / "a", bootstrap=(nobody, NOWHERE)) as provider, peer(tmp_path / "b") as other:
        async with asyncio.timeout(60):
            while len(told := (await provider.status())["bootstrap_problems"]) < 2:
                await asyncio.sleep(0.02)
        assert nobody in told[0]
        assert f"{NOWHERE} was not reached" in told[1]
        root = publish(provider, make_tree(tmp_path / "tree", 1000))
        sink = Collector()
        await other.fetch([root], [address(provider)], sink)
        assert digests(sink) == stored(provider.store)
        assert provider.restarts == 0


async def test_a_peer_that_was_not_reached_is_dialled_again_at_once(tmp_path):
    async with peer(tmp_path / "a") as node:
        with pytest.raises(PeerUnreachable) as first:
            await node.connect(NOWHERE)
        with pytest.raises(PeerUnreachable) as second:
            await node.connect(NOWHERE)
        assert str(second.value) == str(first.value)


async def test_an_error_of_the_sink_ends_the_fetch_and_is_told(tmp_path):
    def sink(block_id, block):
        raise LookupError("no room for it")

    async with peer(tmp_path / "a") as provider, peer(tmp_path / "b") as requester:
        root = publish(provider, make_tree(tmp_path / "tree"))
        with pytest.raises(LookupError, match="no room"):
            await requester.fetch([root], [address(provider)], sink)
        again = Collector()
        await requester.fetch([root], [address(provider)], again)
        assert digests(again) == stored(provider.store)


async def test_a_fetch_that_is_cancelled_leaves_the_connection_usable(tmp_path):
    async with peer(tmp_path / "a") as provider, peer(tmp_path / "b") as requester:
        root = publish(provider, make_tree(tmp_path / "tree", 20_000_000))
        for _ in range(3):
            some = Collector()
            fetch = asyncio.create_task(requester.fetch([root], [address(provider)], some))
            await arrived(some, 3, fetch)
            fetch.cancel()
            await asyncio.wait({fetch})
        sink = Collector()
        await requester.fetch([root], [address(provider)], sink)
        assert digests(sink) == stored(provider.store)


async def test_a_provider_that_goes_away_is_noticed_and_another_one_goes_on(tmp_path):
    async with peer(tmp_path / "b") as steady, peer(tmp_path / "c") as requester:
        async with peer(tmp_path / "a") as leaving:
            root = publish(leaving, make_tree(tmp_path / "tree", 30_000_000))
            publish(steady, tmp_path / "tree")
            sink = Collector()
            fetch = asyncio.create_task(requester.fetch([root], [address(leaving), address(steady)], sink))
            await arrived(sink, 10, fetch)
        await asyncio.wait_for(fetch, 60)
        assert digests(sink) == stored(steady.store)


async def test_a_silent_peer_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "SILENCE_S", 0.5)

    async def say_nothing(self, peer):
        return None

    async with peer(tmp_path / "a") as provider, peer(tmp_path / "b") as requester:
        root = publish(provider, make_tree(tmp_path / "tree", 1000))
        monkeypatch.setattr("node.publisher.p2p.server.Server.next_answer", say_nothing)
        with pytest.raises(BlocksNotFound):
            await asyncio.wait_for(requester.fetch([root], [address(provider)], Collector()), 60)


async def test_a_crash_in_the_trio_thread_is_told_and_the_same_peer_starts_again(tmp_path, monkeypatch):
    monkeypatch.setattr("node.publisher.p2p.embedded.FIRST_PAUSE_S", 0.05)

    async def break_trio(self):
        async def bug():
            raise LookupError("a bug in a library")

        trio.lowlevel.spawn_system_task(bug)
        await trio.sleep_forever()

    async with peer(tmp_path / "a") as provider, peer(tmp_path / "b") as requester:
        before = requester.peer_id
        with monkeypatch.context() as patched:
            patched.setattr(Service, "stats", break_trio)
            with pytest.raises(P2pUnavailable):
                await requester.stats()
        async with asyncio.timeout(60):
            while requester.problem is not None or (await requester.status())["restarts"] == 0:
                await asyncio.sleep(0.02)
        assert requester.peer_id == before
        root = publish(provider, make_tree(tmp_path / "tree", 1000))
        sink = Collector()
        await requester.fetch([root], [address(provider)], sink)
        assert digests(sink) == stored(provider.store)


async def test_a_port_that_is_taken_is_told_and_used_once_it_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr("node.publisher.p2p.embedded.FIRST_PAUSE_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"/ip4/127.0.0.1/tcp/{other.getsockname()[1]}"
        store = BlockStore(tmp_path / "store", floor_bytes=0)
        node = EmbeddedNode(store, tmp_path / "peer.key", PeerSettings((listen,)))
        node.start()
        await node.tried()
        assert f"cannot listen on {listen}" in node.problem
        with pytest.raises(P2pUnavailable, match="not running"):
            await node.connect(NOWHERE)
    try:
        async with asyncio.timeout(60):
            while node.problem is not None:
                await asyncio.sleep(0.02)
        assert node.addresses() == (f"{listen}/p2p/{node.peer_id}",)
    finally:
        await node.close()
    assert (await node.status())["problem"] == "stopped"
