"""Bitswap messages on the wire, written plainly and read with bounds.

Unknown fields are skipped, as protobuf wants; everything known is checked. CIDs stay bytes: a peer may ask
for what this node cannot check, and is told that it is not here. Source: the bitswap specification, versions
1.0.0, 1.1.0 and 1.2.0, and its Message protobuf.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from node.publisher.cid import DAG_PB, RAW, BlockId, decode_block_id
from node.publisher.errors import BadContent, InvalidCid
from node.publisher.protobuf import bytes_field, bytes_header, fields, number_field
from node.publisher.varint import encode_varint

MAX_MESSAGE_BYTES = 4 << 20
"""The largest message that Kubo sends or reads."""
MAX_BLOCK_BYTES = 2 << 20
MAX_ENTRIES = 8192
"""Wants in one message, and blocks and presences together."""
MAX_CID_BYTES = 128
MAX_FIELDS = 16
"""Fields in one entry."""
_V0_PREFIX = bytes((0, DAG_PB, 0x12, 0x20))
_PREFIXES = {
    _V0_PREFIX: (DAG_PB, 0),
    bytes((1, DAG_PB, 0x12, 0x20)): (DAG_PB, 1),
    bytes((1, RAW, 0x12, 0x20)): (RAW, 1),
}


class Version(Enum):
    """What of the protocol a stream speaks: 1.0 has bare blocks, 1.1 their prefixes, 1.2 also presences."""

    V1_0 = 0
    V1_1 = 1
    V1_2 = 2


PROTOCOLS = {
    "/ipfs/bitswap/1.2.0": Version.V1_2,
    "/ipfs/bitswap/1.1.0": Version.V1_1,
    "/ipfs/bitswap/1.0.0": Version.V1_0,
    "/ipfs/bitswap": Version.V1_0,
}
"""The best first, as it is offered to peers."""


@dataclass(frozen=True, slots=True)
class Want:
    """One line of a wantlist. ``have`` asks whether the block is there, else the block is asked for."""

    cid: bytes
    have: bool = False
    cancel: bool = False
    send_dont_have: bool = False
    priority: int = 1


@dataclass(frozen=True, slots=True)
class Payload:
    """A block with the first bytes of its CID (version, codec, hash), which 1.0 does not have."""

    data: bytes
    prefix: bytes = _V0_PREFIX


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a peer has a block."""

    cid: bytes
    have: bool


@dataclass(frozen=True, slots=True)
class Message:
    """One bitswap message. ``full`` says that the wants replace all that were sent before."""

    wants: tuple[Want, ...] = ()
    full: bool = False
    payloads: tuple[Payload, ...] = ()
    presences: tuple[Presence, ...] = ()


def prefix_of(block_id: BlockId) -> bytes:
    """Return the prefix from which the reader of a block makes its CID again."""
    return _V0_PREFIX if block_id.version == 0 else block_id.to_bytes()[:4]


def block_id_of(payload: Payload) -> BlockId | None:
    """Return what a received block is by its own bytes, or None for a prefix that is never asked for."""
    known = _PREFIXES.get(payload.prefix)
    if known is None:
        return None
    codec, version = known
    return BlockId(codec, hashlib.sha256(payload.data).digest(), version)


def readable_cid(cid: bytes) -> BlockId | None:
    """Return the identifier, or None if it is of a kind that this node never stores."""
    try:
        return decode_block_id(cid)
    except InvalidCid:
        return None


def wants_of(block_ids: Iterable[BlockId], *, cancel: bool = False) -> tuple[Want, ...]:
    """Return wants for whole blocks that ask to be told of blocks that are not there, or their cancels."""
    return tuple(
        Want(block_id.to_bytes(), cancel=cancel, send_dont_have=not cancel) for block_id in block_ids
    )


def encode_message(message: Message, version: Version = Version.V1_2) -> bytes:
    """Return the message with its length before it, as it stands on a stream.

    What a version does not know is left out: presences before 1.2, prefixes before 1.1.
    """
    parts: list[bytes] = []
    if message.wants or message.full:
        wantlist = b"".join(bytes_field(1, _encode_want(want, version)) for want in message.wants)
        parts.append(bytes_field(1, wantlist + (number_field(2, 1) if message.full else b"")))
    for payload in message.payloads:
        if version is Version.V1_0:
            parts += (bytes_header(2, len(payload.data)), payload.data)
        else:
            head = bytes_field(1, payload.prefix) + bytes_header(2, len(payload.data))
            parts += (bytes_header(3, len(head) + len(payload.data)), head, payload.data)
    if version is Version.V1_2:
        parts += (
            bytes_field(4, bytes_field(1, presence.cid) + number_field(2, 0 if presence.have else 1))
            for presence in message.presences
        )
    length = sum(map(len, parts))
    if length > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes is not read by other nodes")
    return b"".join((encode_varint(length), *parts))


def decode_message(data: bytes | bytearray) -> Message:
    """Return the message that ``data`` is, without its length. Raises BadContent."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise BadContent(f"a message has {len(data)} bytes: allowed are {MAX_MESSAGE_BYTES}")
    wants: list[Want] = []
    full = False
    payloads: list[Payload] = []
    presences: list[Presence] = []
    for field, value in _bounded(memoryview(data), MAX_ENTRIES):
        match field, value:
            case 1, memoryview():
                for inner, entry in _bounded(value, MAX_ENTRIES + 1):
                    match inner, entry:
                        case 1, memoryview():
                            wants.append(_decode_want(entry))
                        case 2, int():
                            full = bool(entry)
            case 2, memoryview():
                payloads.append(Payload(_block(value)))
            case 3, memoryview():
                payloads.append(_decode_payload(value))
            case 4, memoryview():
                presences.append(_decode_presence(value))
        if len(wants) > MAX_ENTRIES:
            raise BadContent(f"a message has more than {MAX_ENTRIES} wants: that is the limit")
    return Message(tuple(wants), full, tuple(payloads), tuple(presences))


def _encode_want(want: Want, version: Version) -> bytes:
    out = bytes_field(1, want.cid) + number_field(2, want.priority)
    if want.cancel:
        out += number_field(3, 1)
    if version is Version.V1_2:
        out += (number_field(4, 1) if want.have else b"") + (
            number_field(5, 1) if want.send_dont_have else b""
        )
    return out


def _decode_want(entry: memoryview) -> Want:
    numbers = {2: 0, 3: 0, 4: 0, 5: 0}
    cid = b""
    for field, value in _bounded(entry, MAX_FIELDS):
        if isinstance(value, int):
            if field in numbers:
                numbers[field] = value
        elif field == 1:
            cid = _cid(value)
    if not cid:
        raise BadContent("a want has no CID")
    if numbers[4] not in {0, 1}:
        raise BadContent(f"a want has type {numbers[4]}: allowed are 0 (block) and 1 (have)")
    # A priority is a signed 32-bit number, which protobuf stretches to 64 bits.
    priority = numbers[2] & 0xFFFFFFFF
    priority -= (priority >> 31) << 32
    return Want(cid, bool(numbers[4]), bool(numbers[3]), bool(numbers[5]), max(priority, 0))


def _decode_payload(entry: memoryview) -> Payload:
    prefix, data = b"", b""
    for field, value in _bounded(entry, MAX_FIELDS):
        match field, value:
            case 1, memoryview():
                prefix = _cid(value)
            case 2, memoryview():
                data = _block(value)
    return Payload(data, prefix)


def _decode_presence(entry: memoryview) -> Presence:
    cid, kind = b"", 0
    for field, value in _bounded(entry, MAX_FIELDS):
        match field, value:
            case 1, memoryview():
                cid = _cid(value)
            case 2, int():
                kind = value
    if not cid or kind not in {0, 1}:
        raise BadContent("a presence has no CID, or is neither 0 (have) nor 1 (have not)")
    return Presence(cid, kind == 0)


def _cid(value: memoryview) -> bytes:
    if not 0 < len(value) <= MAX_CID_BYTES:
        raise BadContent(f"a CID has {len(value)} bytes: allowed are 1 to {MAX_CID_BYTES}")
    return bytes(value)


def _block(value: memoryview) -> bytes:
    if len(value) > MAX_BLOCK_BYTES:
        raise BadContent(f"a block has {len(value)} bytes: allowed are {MAX_BLOCK_BYTES}")
    return bytes(value)


def _bounded(data: memoryview, limit: int) -> Iterator[tuple[int, int | memoryview]]:
    for count, entry in enumerate(fields(data)):
        if count >= limit:
            raise BadContent(f"there are more than {limit} fields in one place: that is the limit")
        yield entry
