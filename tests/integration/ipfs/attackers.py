"""Hostile peers: each is a libp2p host that keeps to the protocol just enough to be let in."""

import os
from contextlib import suppress

import trio
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID

from node.publisher.cid import RAW, BlockId
from node.publisher.p2p.host import Host
from node.publisher.p2p.identity import load_or_create
from node.publisher.p2p.messages import PROTOCOLS, Message, Payload, Want, encode_message, wants_of
from node.publisher.varint import encode_varint

BITSWAP = tuple(PROTOCOLS)


class Attacker:
    """One hostile peer. ``deeds`` counts what it did."""

    def __init__(self, directory, name):
        self._key_file = directory / f"{name}.key"
        self.deeds = 0
        self.cut_off = 0

    async def run(self, address, attack):
        host = Host(load_or_create(self._key_file))
        host.serve(BITSWAP, self._never_read)
        async with host.run(["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]):
            while True:
                try:
                    victim = await host.connect(address)
                    await attack(self, host, victim)
                except Exception:  # noqa: BLE001 - thrown out, it comes back as a hostile peer would
                    self.cut_off += 1
                    await trio.sleep(0.05)

    async def _never_read(self, stream):
        await trio.sleep_forever()


async def oversized_messages(attacker, host, victim):
    """Announce messages of all sizes up to 100 MB, and send what was announced as far as it is taken."""
    for announced in (300_000, 5 << 20, 100 << 20):
        stream = await host.open_stream(victim, BITSWAP)
        try:
            await stream.write(encode_varint(announced))
            for _ in range(0, announced, 60_000):
                await stream.write(bytes(60_000))
        except StreamError:
            pass
        attacker.deeds += 1


async def wrong_blocks(attacker, host, victim):
    """Send blocks that nobody has asked for."""
    stream = await host.open_stream(victim, BITSWAP)
    while True:
        block = os.urandom(200_000)
        await stream.write(encode_message(Message(payloads=(Payload(block, b"\x01\x55\x12\x20"),))))
        attacker.deeds += 1


async def wantlist_flood(attacker, host, victim):
    """Ask for thousands of blocks that do not exist, on many streams, and read no answer."""

    async def flood():
        stream = await host.open_stream(victim, BITSWAP)
        while True:
            wants = tuple(
                Want(BlockId(RAW, os.urandom(32)).to_bytes(), have=bool(n % 2), send_dont_have=True)
                for n in range(3000)
            )
            await stream.write(encode_message(Message(wants=wants)))
            attacker.deeds += 1

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(flood)


def slow_reader(block_ids):
    """Ask for everything there is and read none of it."""

    async def attack(attacker, host, victim):
        stream = await host.open_stream(victim, BITSWAP)
        while True:
            await stream.write(encode_message(Message(wants=wants_of(block_ids))))
            attacker.deeds += 1
            await trio.sleep(0.5)

    return attack


async def beyond_the_window(attacker, host, victim):
    """Hold up one message, and on a second stream send without regard to the window."""
    first = await host.open_stream(victim, BITSWAP)
    second = await host.open_stream(victim, BITSWAP)
    await first.write(encode_varint(200_000) + bytes(1000))
    await second.write(encode_varint(200_000))
    while True:
        second.muxed_stream.send_window = 1 << 30
        await second.write(bytes(60_000))
        attacker.deeds += 1


async def many_streams(attacker, host, victim):
    """Open streams without end and say nothing on them."""
    network = host.libp2p.get_network()
    while True:
        with trio.move_on_after(5):
            await network.new_stream(ID.from_string(victim))
        attacker.deeds += 1
        await trio.sleep(0.002)


def silent_sockets(address):
    """Keep 250 TCP connections open from one address and say nothing on them."""
    port = int(address.split("/tcp/")[1].split("/")[0])

    async def attack(attacker, host, victim):
        async def keep_one_open():
            while True:
                with trio.socket.socket() as silent, suppress(OSError):
                    await silent.bind(("127.0.0.9", 0))
                    await silent.connect(("127.0.0.1", port))
                    attacker.deeds += 1
                    await silent.recv(65536)
                    while await silent.recv(65536):
                        pass
                await trio.sleep(0.2)

        async with trio.open_nursery() as nursery:
            for _ in range(250):
                nursery.start_soon(keep_one_open)

    return attack
