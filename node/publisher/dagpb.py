"""The two protobuf messages of UnixFS: the dag-pb node with its links, and the UnixFS data inside it.

Written canonically (links before data, fields in order) and read strictly: unknown or repeated fields and
numbers not in shortest form are refused. Source: the IPLD dag-pb and the IPFS UnixFS specifications.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from node.publisher.cid import BlockId, decode_block_id
from node.publisher.errors import BadContent, InvalidCid
from node.publisher.protobuf import bytes_field, fields
from node.publisher.varint import encode_varint


class Kind(IntEnum):
    """The UnixFS types that this node reads. Symbolic links and sharded directories are not among them."""

    RAW = 0
    DIRECTORY = 1
    FILE = 2


@dataclass(frozen=True, slots=True)
class Link:
    """A dag-pb link. ``tsize_bytes`` is the size of the linked block and of all blocks below it."""

    block_id: BlockId
    name: str
    tsize_bytes: int


@dataclass(frozen=True, slots=True)
class UnixFsData:
    """The UnixFS message. ``part_sizes`` are the file bytes below each link, in the links' order."""

    kind: Kind
    data: bytes = b""
    size_bytes: int | None = None
    part_sizes: tuple[int, ...] = ()


def encode_node(links: Sequence[Link], data: bytes) -> bytes:
    """Return a dag-pb block."""
    out = bytearray()
    for link in links:
        name = link.name.encode("utf-8")
        body = (
            bytes_field(1, link.block_id.to_bytes())
            + bytes_field(2, name)
            + b"\x18"
            + encode_varint(link.tsize_bytes)
        )
        out += bytes_field(2, body)
    return bytes(out) + bytes_field(1, data)


def decode_node(block: bytes) -> tuple[tuple[Link, ...], bytes]:
    """Return (links, data) of a dag-pb block. Raises BadContent."""
    links: list[Link] = []
    data: bytes | None = None
    links_closed = False
    for field, value in fields(memoryview(block)):
        match field, value:
            case 2, memoryview() if not links_closed:
                links.append(_decode_link(value))
            case 1, memoryview() if data is None:
                data = bytes(value)
                # The two sections may come in either order, but neither may be interrupted by the other.
                links_closed = bool(links)
            case _:
                raise BadContent(f"a dag-pb node has field {field} where it may not be")
    if data is None:
        raise BadContent("a dag-pb node carries no UnixFS data")
    return tuple(links), data


def encode_unixfs(message: UnixFsData) -> bytes:
    """Return the UnixFS message; for directories neither data nor size is written."""
    out = bytearray(b"\x08" + encode_varint(message.kind))
    if message.data:
        out += bytes_field(2, message.data)
    if message.size_bytes is not None:
        out += b"\x18" + encode_varint(message.size_bytes)
    for size_bytes in message.part_sizes:
        out += b"\x20" + encode_varint(size_bytes)
    return bytes(out)


def decode_unixfs(data: bytes) -> UnixFsData:
    """Return the UnixFS message. Raises BadContent, also for types and attributes this node does not use."""
    kind: int | None = None
    content: bytes | None = None
    size_bytes: int | None = None
    part_sizes: list[int] = []
    for field, value in fields(memoryview(data)):
        match field, value:
            case 1, int() if kind is None:
                kind = value
            case 2, memoryview() if content is None:
                content = bytes(value)
            case 3, int() if size_bytes is None:
                size_bytes = value
            case 4, int():
                part_sizes.append(value)
            case _:
                raise BadContent(f"UnixFS data has field {field} where it may not be")
    if kind not in set(Kind):
        raise BadContent(f"UnixFS type {kind} is not supported: allowed are plain files and directories")
    return UnixFsData(Kind(kind), content or b"", size_bytes, tuple(part_sizes))


def _decode_link(body: memoryview) -> Link:
    block_id: BlockId | None = None
    name = ""
    tsize_bytes = 0
    last_field = 0
    for field, value in fields(body):
        if field <= last_field:
            raise BadContent("a dag-pb link has its fields twice or out of order")
        last_field = field
        match field, value:
            case 1, memoryview():
                try:
                    block_id = decode_block_id(value)
                except InvalidCid as error:
                    raise BadContent(f"a dag-pb link cannot be followed: {error}") from error
            case 2, memoryview():
                try:
                    name = bytes(value).decode("utf-8")
                except UnicodeDecodeError as error:
                    raise BadContent(
                        f"the name of a dag-pb link is not UTF-8: {bytes(value)[:80]!r}"
                    ) from error
            case 3, int():
                tsize_bytes = value
            case _:
                raise BadContent(f"a dag-pb link has field {field} where it may not be")
    if block_id is None:
        raise BadContent("a dag-pb link has no CID")
    return Link(block_id, name, tsize_bytes)
