import pytest

from node.publisher.cid import DAG_PB, RAW, BlockId, hash_block
from node.publisher.dag import DirectoryNode, FileNode, parse
from node.publisher.dagpb import (
    Kind,
    Link,
    UnixFsData,
    decode_node,
    decode_unixfs,
    encode_node,
    encode_unixfs,
)
from node.publisher.errors import BadContent

LEAF = hash_block(RAW, b"x")
DIRECTORY = encode_unixfs(UnixFsData(Kind.DIRECTORY))
HASH_FIELD = b"\x0a\x24" + LEAF.to_bytes()


def node_of(link_body: bytes, data: bytes = b"\x0a\x02\x08\x01") -> bytes:
    return b"\x12" + bytes((len(link_body),)) + link_body + data


def parsed(block: bytes) -> FileNode | DirectoryNode:
    return parse(hash_block(DAG_PB, block), block)


def test_a_node_survives():
    links = (Link(LEAF, "a", 1), Link(BlockId(DAG_PB, bytes(32), 0), "ä", 2**40))
    assert decode_node(encode_node(links, DIRECTORY)) == (links, DIRECTORY)


def test_unixfs_data_survives():
    message = UnixFsData(Kind.FILE, b"abc", 10, (3, 4))
    assert decode_unixfs(encode_unixfs(message)) == message


def test_the_empty_directory_is_four_bytes():
    assert encode_node([], DIRECTORY) == bytes.fromhex("0a020801")


def test_data_may_come_before_the_links():
    link = node_of(HASH_FIELD + b"\x12\x01a\x18\x01", b"")
    assert decode_node(b"\x0a\x02\x08\x01" + link) == decode_node(link + b"\x0a\x02\x08\x01")


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"", "no UnixFS data"),
        (b"\x0a\x05\x08\x01", "bytes, 2 are left"),
        (b"\x0a\x02\x08\x01\x0a\x02\x08\x01", "field 1"),
        (b"\x1a\x00\x0a\x02\x08\x01", "field 3"),
        (b"\x08\x01\x0a\x02\x08\x01", "field 1"),
        (b"\x0d\x00\x00\x00\x00", "wire type 5"),
        (b"\x0a\x82\x00\x08\x01", "shortest form"),
        (node_of(HASH_FIELD) + node_of(HASH_FIELD, b""), "field 2"),
        (node_of(b"\x12\x01a"), "no CID"),
        (node_of(b"\x12\x01a" + HASH_FIELD), "out of order"),
        (node_of(HASH_FIELD + HASH_FIELD), "out of order"),
        (node_of(HASH_FIELD + b"\x12\x01\xff"), "UTF-8"),
        (node_of(HASH_FIELD + b"\x20\x01"), "field 4"),
        (node_of(b"\x0a\x04\x01\x55\x12\x20"), "cannot be followed"),
        (node_of(b"\x0a\x25" + LEAF.to_bytes() + b"x"), "cannot be followed"),
    ],
)
def test_a_node_that_is_not_written_by_the_book_is_refused(block, reason):
    with pytest.raises(BadContent, match=reason):
        parsed(block)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "type None"),
        (b"\x08\x03", "type 3"),
        (b"\x08\x04\x12\x04/etc", "type 4"),
        (b"\x08\x05", "type 5"),
        (b"\x08\x01\x08\x01", "field 1"),
        (b"\x08\x02\x38\xa4\x03", "field 7"),
        (b"\x08\x01\x12\x01a", "carries file data"),
        (b"\x08\x02\x12\x01a\x18\x02", "contradict"),
        (b"\x08\x02\x18\x01\x20\x01", "contradict"),
    ],
)
def test_unixfs_data_that_is_unknown_or_contradicts_itself_is_refused(data, reason):
    with pytest.raises(BadContent, match=reason):
        parsed(encode_node([], data))


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "../x", "a/b", "/etc/passwd", "nul\0", "line\nbreak", "del\x7f", "x" * 256],
)
def test_a_directory_cannot_hold_a_name_that_leads_elsewhere(name):
    with pytest.raises(BadContent, match="name"):
        parsed(encode_node([Link(LEAF, name, 1)], DIRECTORY))


@pytest.mark.parametrize("names", [("a", "a"), ("b", "a"), ("ä", "z")])
def test_a_directory_has_its_entries_once_and_in_byte_order(names):
    with pytest.raises(BadContent, match="out of order"):
        parsed(encode_node([Link(LEAF, name, 1) for name in names], DIRECTORY))
