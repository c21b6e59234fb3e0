"""Peers that break the protocols below bitswap.

A deed gets a connected host and the victim's peer id, or, below libp2p, only the victim's port on loopback.
"""

import os
import struct
from contextlib import suppress

import trio
from libp2p.peer.id import ID

from node.publisher.p2p.messages import PROTOCOLS
from node.publisher.varint import encode_varint

MULTISTREAM = "/multistream/1.0.0"
IDENTIFY = "/ipfs/id/1.0.0"
PUSH = "/ipfs/id/push/1.0.0"
PING = "/ipfs/ping/1.0.0"
NOT_UTF8 = b"/\xff\xfe\x80/1.0.0"
TAKEN_IN_S = 0.3


def line(text):
    """A message of multistream-select."""
    raw = text if isinstance(text, bytes) else text.encode()
    return encode_varint(len(raw) + 1) + raw + b"\n"


async def raw_stream(host, victim):
    """A stream on which no protocol was agreed."""
    return await host.libp2p.get_network().new_stream(ID.from_string(victim))


def says(*messages, then="wait"):
    """On a fresh stream: say this, and then wait, close or reset."""

    async def deed(host, victim):
        stream = await raw_stream(host, victim)
        for message in messages:
            await stream.write(message)
        await trio.sleep(0.05)
        if then != "wait":
            await getattr(stream, then)()

    return deed


def on_protocol(protocol, *messages, then="wait"):
    return says(line(MULTISTREAM), line(protocol), *messages, then=then)


def field(number, payload):
    return encode_varint(number << 3 | 2) + encode_varint(len(payload)) + payload


def delimited(message):
    return encode_varint(len(message)) + message


def frame(kind, flags, stream_id, length, body=b"", version=0):
    return struct.pack(">BBHII", version, kind, flags, stream_id, length) + body


def frames(*encoded):
    """Write yamux frames as they are."""

    async def deed(host, victim):
        (connection,) = host.libp2p.get_network().get_connections(ID.from_string(victim))
        for one in encoded:
            await connection.muxed_conn._write_frame(one)

    return deed


async def torn(host, victim):
    """Break the connection while streams are in every state."""
    (connection,) = host.libp2p.get_network().get_connections(ID.from_string(victim))
    with trio.move_on_after(5):
        await many_at_once(host, victim)
        for protocol in (*PROTOCOLS, PING, IDENTIFY, PUSH):
            await on_protocol(protocol, b"\x20")(host, victim)
        await getattr(connection.muxed_conn, "secured_conn", connection.muxed_conn).close()


async def many_at_once(host, victim):
    """Open streams and reset each in another state."""
    async with trio.open_nursery() as nursery:
        for part in (b"", b"\x13", line(MULTISTREAM), line(MULTISTREAM) + b"\x15/ipfs/bit"):
            for then in ("close", "reset"):
                nursery.start_soon(says(part, then=then), host, victim)
        for protocol in (*PROTOCOLS, PING, IDENTIFY, PUSH):
            for then in ("close", "reset"):
                for begun in (b"", b"\x80", b"\x20" + b"x" * 7):
                    nursery.start_soon(on_protocol(protocol, begun, then=then), host, victim)


BAD_IDENTITIES = {
    "not a protobuf": b"\xff" * 40,
    "a key that is none": field(1, b"\x08\x01\x12\x20" + b"\x00" * 32),
    "a key of an unknown kind": field(1, b"\x08\x7f\x12\x04abcd"),
    "another peer's key": field(1, b"\x08\x01\x12\x20" + os.urandom(32)),
    "addresses that are none": b"".join(field(2, b"\xff" * n) for n in range(1, 60)),
    "an observed address that is none": field(4, b"\x04\x7f"),
    "protocols that are no text": field(3, NOT_UTF8) * 50,
    "agents that are no text": field(6, NOT_UTF8) + field(5, NOT_UTF8),
    "a record that is none": field(8, b"\x0a\xff\xff" + os.urandom(200)),
}
"""Contents of an identify message. Source: libp2p's identify specification."""

STREAM_DEEDS = {
    "a protocol that is not UTF-8": says(line(MULTISTREAM), line(NOT_UTF8)),
    "a greeting that is not UTF-8": says(line(NOT_UTF8)),
    "an empty protocol": says(line(MULTISTREAM), line("")),
    "a message of no length": says(line(MULTISTREAM), b"\x00"),
    "a message without its end": says(line(MULTISTREAM), b"\x05abcde"),
    "a length that does not end": says(b"\xff" * 64),
    "a protocol of 10 MB": says(line(MULTISTREAM), encode_varint(10_000_000) + b"x" * 100_000),
    "a list of protocols, then not UTF-8": says(line(MULTISTREAM), line("ls"), line(NOT_UTF8)),
    "every state, ended in every way": many_at_once,
    "every state, torn": torn,
    "an announced push of 1 GB": on_protocol(PUSH, encode_varint(1 << 30), b"x" * 50_000),
    "a ping too short": on_protocol(PING, b"short", then="close"),
} | {
    f"pushed: {name}": on_protocol(PUSH, delimited(content), then="close")
    for name, content in BAD_IDENTITIES.items()
}

YAMUX_DEEDS = {
    "an unknown version": frames(frame(0, 0, 1, 0, version=9)),
    "an unknown type": frames(frame(77, 0, 1, 0), frame(255, 0xFFFF, 3, 9)),
    "data for a stream that is not there": frames(frame(0, 0, 999, 5, b"hello")),
    "a frame of 4 GB": frames(frame(0, 0, 1, 0xFFFFFFFF)),
    "all flags at once": frames(*(frame(kind, 0xF, 2 * n + 101, 0) for n, kind in enumerate((0, 1, 2, 3)))),
    "a stream begun twice": frames(*[frame(1, 1, 301, 0)] * 3),
    "a stream begun and reset in one": frames(frame(1, 1 | 8, 303, 0), frame(1, 1 | 4 | 8, 305, 0)),
    "data with a begin, cut off": frames(frame(0, 1, 307, 1000, b"few")),
    "a stream of the other side's number": frames(frame(1, 1, 2, 0), frame(0, 1, 0, 3, b"abc")),
    "a window beyond all bounds": frames(frame(1, 1, 309, 0xFFFFFFFF), *[frame(1, 0, 309, 0xFFFFFFFF)] * 5),
    "an end for no reason": frames(frame(3, 0, 0, 0xFFFFFFFF)),
    "noise": frames(b"\x00" + os.urandom(4000)),
}


def sends_over_tcp(*messages):
    async def deed(port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            with suppress(trio.BrokenResourceError), trio.move_on_after(TAKEN_IN_S):
                for message in messages:
                    await stream.send_all(message)
                    await trio.sleep(0.02)
                while await stream.receive_some():
                    pass

    return deed


def noise_message(body):
    return struct.pack(">H", len(body)) + body


TCP_DEEDS = {
    "nothing at all": sends_over_tcp(),
    "random bytes": sends_over_tcp(os.urandom(2000)),
    "a security protocol that is not UTF-8": sends_over_tcp(line(MULTISTREAM), line(NOT_UTF8)),
    "a greeting cut off": sends_over_tcp(line(MULTISTREAM)[:7]),
    "a noise message of nothing": sends_over_tcp(line(MULTISTREAM), line("/noise"), noise_message(b"")),
    "a noise message of zeros": sends_over_tcp(line(MULTISTREAM), line("/noise"), noise_message(bytes(32))),
    "a noise message of 64 kB": sends_over_tcp(
        line(MULTISTREAM), line("/noise"), noise_message(os.urandom(65_535))
    ),
    "a second noise message of rubbish": sends_over_tcp(
        line(MULTISTREAM), line("/noise"), noise_message(os.urandom(32)), noise_message(os.urandom(200))
    ),
}


def sends_over_udp(*datagrams):
    async def deed(port):
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as socket:
            await socket.connect(("127.0.0.1", port))
            for datagram in datagrams:
                await socket.send(datagram)
                await trio.sleep(0.001)
            await trio.sleep(0.05)

    return deed


def initial(version=1, connection_id=b"12345678", rest=b""):
    """The first packet of a QUIC connection, RFC 9000 17.2.2, with whatever is in it."""
    head = b"\xc0" + struct.pack(">I", version)
    ids = bytes((len(connection_id),)) + connection_id + b"\x08abcdefgh"
    return (head + ids + b"\x00" + rest).ljust(1200, b"\x00")


UDP_DEEDS = {
    "random datagrams": sends_over_udp(*(os.urandom(n * 13 % 1400 + 1) for n in range(200))),
    "empty and tiny datagrams": sends_over_udp(b"", *(bytes((n,)) for n in range(256))),
    "first packets of rubbish": sends_over_udp(
        *(initial(rest=b"\x44\x00" + os.urandom(1024), connection_id=os.urandom(8)) for _ in range(20))
    ),
    "connection ids of all lengths": sends_over_udp(
        *(
            initial(connection_id=os.urandom(n), rest=b"\x44\x00" + os.urandom(1024))
            for n in range(0, 256, 15)
        )
    ),
    "versions that nobody speaks": sends_over_udp(
        *(initial(version=n) for n in (0, 2, 0xFF00001D, 0xFAFAFAFA))
    ),
}
