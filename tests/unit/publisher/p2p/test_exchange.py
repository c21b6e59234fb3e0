"""Bitswap with peers: what is due to them when a block comes late, and that it ends when it is told to."""

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from node.publisher.blockstore import BlockStore
from node.publisher.cid import RAW, hash_block
from node.publisher.p2p.exchange import Exchange
from node.publisher.p2p.framing import MessageReader
from node.publisher.p2p.messages import MAX_MESSAGE_BYTES, Message, Payload, Presence, Want, decode_message
from node.publisher.p2p.server import Server

SMALL, LARGE = b"a late block", bytes(5000)


class QuietHost:
    """A host on which nothing happens by itself."""

    def serve(self, protocols, handler):
        pass

    def on_gone(self, callback):
        self.gone = callback

    def peers(self):
        return ()


class UnreadHost(QuietHost):
    """A host whose peer takes no stream."""

    async def open_stream(self, peer, protocols):
        await trio.sleep_forever()


class Stream:
    """What is sent to a peer, as messages."""

    def __init__(self):
        self._sent, self._read = trio.testing.memory_stream_one_way_pair()
        self.messages = MessageReader(self)

    def get_protocol(self):
        return "/ipfs/bitswap/1.2.0"

    async def write(self, data):
        await self._sent.send_all(data)

    async def read(self, count):
        return await self._read.receive_some(count)

    async def close(self):
        await self._sent.aclose()

    async def next(self):
        with trio.fail_after(10):
            length = await self.messages.next_length(lambda: MAX_MESSAGE_BYTES)
            return decode_message(await self.messages.body(length))


class ReadHost(QuietHost):
    """A host whose peers read what is sent to them."""

    def __init__(self):
        self.streams = {}

    async def open_stream(self, peer, protocols):
        await trio.lowlevel.checkpoint()
        return self.streams.setdefault(peer, Stream())


class CountingServer(Server):
    """Counts how often a message for a peer was begun; begins none without end."""

    begun = 0

    async def next_answer(self, peer):
        self.begun += 1
        if self.begun > 20:
            raise AssertionError("sending began again and again after its end")
        return await super().next_answer(peer)


def test_an_exchange_that_is_cancelled_ends_though_a_peer_waits_for_answers(tmp_path):
    server = CountingServer(BlockStore(tmp_path / "store", floor_bytes=0))

    async def run():
        exchange = Exchange(UnreadHost(), server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.run)
            await trio.testing.wait_all_tasks_blocked()
            peer = exchange._peer("alice")
            exchange._take(peer, Message(tuple(Want(b"%d" % n, send_dont_have=True) for n in range(300))))
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert server.ledger.wants
            nursery.cancel_scope.cancel()

    trio.run(run)
    assert server.begun == 1


def put(store, *blocks):
    with store.writer() as writer:
        for block in blocks:
            writer.put(hash_block(RAW, block).digest, block)


def want(block, **kind):
    return Want(hash_block(RAW, block).to_bytes(), **kind)


class Scene:
    """An exchange at work, and what its peers say and hear."""

    def __init__(self, store):
        self.host = ReadHost()
        self.store = store
        self.server = Server(store)
        self.exchange = Exchange(self.host, self.server)

    async def says(self, peer, *wants, **kind):
        self.exchange._take(self.exchange._peer(peer), Message(wants, **kind))
        await self.settle()

    async def settle(self):
        # Until the threads that look into the store have ended as well.
        await trio.testing.wait_all_tasks_blocked(0.05)

    async def publish(self, *blocks):
        await trio.to_thread.run_sync(put, self.store, *blocks)
        await self.settle()

    async def hears(self, peer):
        return await self.host.streams[peer].next()


def played(tmp_path, scene):
    @asynccontextmanager
    async def at_work():
        one = Scene(BlockStore(tmp_path / "store", floor_bytes=0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.exchange.run)
            await trio.testing.wait_all_tasks_blocked()
            yield one
            nursery.cancel_scope.cancel()

    async def run():
        async with at_work() as one:
            await scene(one)

    trio.run(run)


def test_a_block_that_was_asked_for_too_early_is_sent_when_it_is_published(tmp_path):
    async def scene(one):
        await one.says("alice", want(LARGE))
        assert one.host.streams == {}
        assert len(one.server.ledger.waiting) == 1
        await one.publish(SMALL, LARGE)
        assert [payload.data for payload in (await one.hears("alice")).payloads] == [LARGE]
        assert len(one.server.ledger.waiting) == 0

    played(tmp_path, scene)


def test_who_asked_to_be_told_hears_that_it_is_not_here_and_gets_it_later_all_the_same(tmp_path):
    async def scene(one):
        early = want(LARGE, send_dont_have=True)
        await one.says("alice", early)
        assert (await one.hears("alice")).presences == (Presence(early.cid, have=False),)
        await one.publish(LARGE)
        assert [payload.data for payload in (await one.hears("alice")).payloads] == [LARGE]

    played(tmp_path, scene)


@pytest.mark.parametrize("block", [SMALL, LARGE])
def test_who_only_asked_whether_it_is_here_is_told_of_a_large_block_and_gets_a_small_one(tmp_path, block):
    async def scene(one):
        early = want(block, have=True)
        await one.says("alice", early)
        await one.publish(block)
        heard = await one.hears("alice")
        told = Message(presences=(Presence(early.cid, have=True),))
        assert heard == (told if block is LARGE else Message(payloads=(Payload(block, early.cid[:4]),)))

    played(tmp_path, scene)


@pytest.mark.parametrize("ended", ["cancel", "full", "gone"])
def test_a_want_that_was_taken_back_is_not_answered(tmp_path, ended):
    async def scene(one):
        await one.says("alice", want(LARGE))
        match ended:
            case "cancel":
                await one.says("alice", want(LARGE, cancel=True))
            case "full":
                await one.says("alice", full=True)
            case "gone":
                one.host.gone("alice")
        await one.publish(LARGE)
        assert one.host.streams == {}
        assert len(one.server.ledger.waiting) == 0

    played(tmp_path, scene)


def test_a_block_that_comes_while_it_is_looked_for_is_not_missed(tmp_path):
    async def scene(one):
        look = one.server._look

        def published_meanwhile(block_id, asked):
            found = look(block_id, asked)
            if not found:
                put(one.store, LARGE)
            return found

        one.server._look = published_meanwhile
        await one.says("alice", want(LARGE))
        assert [payload.data for payload in (await one.hears("alice")).payloads] == [LARGE]

    played(tmp_path, scene)


def test_a_publication_that_nobody_waits_for_sends_nothing(tmp_path):
    async def scene(one):
        await one.says("alice", want(LARGE))
        await one.publish(SMALL)
        assert one.host.streams == {}
        assert len(one.server.ledger.waiting) == 1

    played(tmp_path, scene)
