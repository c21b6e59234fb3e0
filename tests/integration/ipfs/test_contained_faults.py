"""Whatever a peer sends, it ends its own stream or connection at most: other peers' connections stay up."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.network.stream.exceptions import StreamError

from node.publisher.p2p.host import Host
from node.publisher.p2p.messages import PROTOCOLS
from node.publisher.p2p.portal import TrioPortal
from tests.integration.ipfs import intruders
from tests.integration.ipfs.nodes import Collector, address, digests, make_tree, peer, publish, stored

pytestmark = pytest.mark.integration
TRANSPORTS = ("tcp", "udp")


def connections(node):
    """The connections of a node, as py-libp2p has them."""
    return node._service._host.libp2p.get_network().get_connections()


def port_of(node, transport):
    return int(address(node, transport).split(f"/{transport}/")[1].split("/")[0])


@asynccontextmanager
async def under_watch(directory, transport):
    """A node with an honest peer, which is connected before and is served on the same connection after."""
    async with peer(directory / "victim") as victim, peer(directory / "honest") as honest:
        first = publish(victim, make_tree(directory / "first", 300_000))
        await honest.fetch([first], [address(victim, transport)], Collector())
        before = connections(honest)
        assert len(before) == 1
        yield victim
        second = publish(victim, make_tree(directory / "second", 300_000))
        sink = Collector()
        await honest.fetch([second], [address(victim, transport)], sink)
        assert digests(sink) <= stored(victim.store)
        assert sink.size_bytes > 300_000
        assert connections(honest) == before
        assert (victim.restarts, victim.problem) == (0, None)
        assert (honest.restarts, honest.problem) == (0, None)


async def intrude(target, deeds):
    """Do all these deeds as one peer, which connects again when it was thrown out."""

    async def run():
        host = Host(create_new_key_pair())
        async with host.run([]):
            for deed in deeds:
                victim = await host.connect(target)
                with trio.move_on_after(2), suppress(Exception):  # thrown out in the middle
                    await deed(host, victim)
            await trio.sleep(intruders.TAKEN_IN_S)

    async with TrioPortal("intruder") as portal:
        await portal.call(run)


async def introduce(target, contents):
    """Connect as one peer for each content, which it tells when it is asked who it is."""

    async def introduce_one(content):
        asked = trio.Event()

        async def tell(stream):
            with suppress(StreamError):
                await stream.write(content)
                await stream.close()
            asked.set()

        host = Host(create_new_key_pair())
        host.serve([intruders.IDENTIFY], tell)
        async with host.run([]):
            await host.connect(target)
            with trio.fail_after(20):
                await asked.wait()
            await trio.sleep(intruders.TAKEN_IN_S)

    async def run():
        async with trio.open_nursery() as nursery:
            for content in contents:
                nursery.start_soon(introduce_one, content)

    async with TrioPortal("intruders") as portal:
        await portal.call(run)


async def below_libp2p(deed, port):
    async with TrioPortal("intruder") as portal:
        await portal.call(deed, port)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_is_said_on_a_stream_ends_that_stream_at_most(tmp_path, transport):
    async with under_watch(tmp_path, transport) as victim:
        await intrude(address(victim, transport), intruders.STREAM_DEEDS.values())


async def test_broken_yamux_frames_end_that_connection_at_most(tmp_path):
    async with under_watch(tmp_path, "tcp") as victim:
        await intrude(address(victim), intruders.YAMUX_DEEDS.values())


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_peer_that_lies_about_itself_is_no_harm(tmp_path, transport):
    contents = [intruders.delimited(told) for told in intruders.BAD_IDENTITIES.values()]
    oversized = intruders.encode_varint(1 << 30) + bytes(100_000)
    async with under_watch(tmp_path, transport) as victim:
        await introduce(address(victim, transport), [*contents, oversized, b"\xff" * 20, b"\x20"])


@pytest.mark.parametrize(
    ("transport", "deeds"), [("tcp", intruders.TCP_DEEDS), ("udp", intruders.UDP_DEEDS)], ids=TRANSPORTS
)
async def test_who_never_becomes_a_peer_is_no_harm(tmp_path, transport, deeds):
    async with under_watch(tmp_path, transport) as victim:
        port = port_of(victim, transport)
        await asyncio.gather(*(below_libp2p(deed, port) for deed in deeds.values()))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_handler_that_breaks_ends_its_stream_and_is_counted(tmp_path, transport):
    async def broken(stream):
        raise LookupError("a bug in a handler")

    async with under_watch(tmp_path, transport) as victim:
        victim._service._host.serve(["/broken/1.0.0"], broken)
        await intrude(address(victim, transport), [intruders.on_protocol("/broken/1.0.0")])
        assert (await victim.stats()).contained_faults == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_rest_of_a_refused_message_is_not_taken(tmp_path, transport):
    left_kb = []

    async def send_on(host, victim):
        stream = await host.open_stream(victim, tuple(PROTOCOLS))
        await stream.write(intruders.encode_varint(30_000_000))
        for kilobytes in range(0, 30_000, 60):
            left_kb[:] = [30_000 - kilobytes]
            await stream.write(bytes(60_000))
        left_kb[:] = [0]

    async with under_watch(tmp_path, transport) as victim:
        await intrude(address(victim, transport), [send_on])
        assert (await victim.stats()).refused_messages == 1
    assert left_kb[0] > 25_000
