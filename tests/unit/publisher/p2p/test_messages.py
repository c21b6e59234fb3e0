"""Bitswap messages: vectors by hand from the specification, and what is refused."""

import pytest

from node.publisher.cid import DAG_PB, RAW, hash_block
from node.publisher.errors import BadContent
from node.publisher.p2p.messages import (
    MAX_BLOCK_BYTES,
    MAX_CID_BYTES,
    MAX_ENTRIES,
    Message,
    Payload,
    Presence,
    Version,
    Want,
    block_id_of,
    decode_message,
    encode_message,
    prefix_of,
    readable_cid,
    wants_of,
)
from node.publisher.protobuf import bytes_field, number_field

EMPTY = hash_block(RAW, b"")
CID = EMPTY.to_bytes()


def body(encoded):
    """What follows the length, which is checked."""
    assert encoded[0] == len(encoded) - 1
    return encoded[1:]


def test_a_want_for_a_block_as_the_specification_writes_it():
    (want,) = wants_of([EMPTY])
    entry = b"\x0a\x24" + CID + b"\x10\x01" + b"\x28\x01"
    expected = b"\x0a" + bytes([len(entry) + 2]) + b"\x0a" + bytes([len(entry)]) + entry
    assert body(encode_message(Message(wants=(want,)))) == expected


def test_a_block_carries_the_prefix_of_its_cid():
    assert prefix_of(EMPTY) == b"\x01\x55\x12\x20"
    assert prefix_of(hash_block(DAG_PB, b"x", 0)) == b"\x00\x70\x12\x20"
    message = Message(payloads=(Payload(b"abc", prefix_of(EMPTY)),))
    assert body(encode_message(message)) == b"\x1a\x0b\x0a\x04\x01\x55\x12\x20\x12\x03abc"


def test_version_one_has_bare_blocks_and_no_presences():
    message = Message(payloads=(Payload(b"abc", prefix_of(EMPTY)),), presences=(Presence(CID, have=True),))
    assert body(encode_message(message, Version.V1_0)) == b"\x12\x03abc"
    assert len(decode_message(body(encode_message(message, Version.V1_1))).presences) == 0


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("data", [b"", b"some bytes"])
def test_what_a_block_is_follows_from_its_own_bytes(version, data):
    block_id = hash_block(DAG_PB, data, version)
    assert block_id_of(Payload(data, prefix_of(block_id))) == block_id


def test_a_bare_block_of_version_one_is_a_cid_of_version_zero():
    assert block_id_of(decode_message(b"\x12\x03abc").payloads[0]) == hash_block(DAG_PB, b"abc", 0)


@pytest.mark.parametrize("prefix", [b"", b"\x01\x71\x12\x20", b"\x01\x55\x12\x14", b"\x01\x55\x00\x03"])
def test_a_block_of_another_kind_is_none_that_was_asked_for(prefix):
    assert block_id_of(Payload(b"abc", prefix)) is None


def test_a_cid_of_another_kind_can_be_asked_for_but_is_never_here():
    cid = b"\x01\x71\x12\x20" + bytes(32)
    message = decode_message(body(encode_message(Message(wants=(Want(cid, have=True),)))))
    assert message.wants[0].cid == cid
    assert readable_cid(cid) is None
    assert readable_cid(CID) == EMPTY


def test_a_negative_priority_counts_as_none():
    entry = bytes_field(1, CID) + number_field(2, (1 << 64) - 5)
    assert decode_message(bytes_field(1, bytes_field(1, entry))).wants == (Want(CID, priority=0),)


def test_fields_that_came_later_are_skipped():
    later = number_field(9, 7) + bytes_field(10, b"new")
    assert decode_message(later + number_field(5, 100)) == Message()


BAD = {
    "cut": b"\x0a\x24\x00",
    "no message": b"\xff" * 20,
    "fixed width": b"\x09" + bytes(8),
    "want without CID": bytes_field(1, bytes_field(1, number_field(2, 1))),
    "want of a third kind": bytes_field(1, bytes_field(1, bytes_field(1, CID) + number_field(4, 2))),
    "long CID": bytes_field(1, bytes_field(1, bytes_field(1, bytes(MAX_CID_BYTES + 1)))),
    "empty CID": bytes_field(4, bytes_field(1, b"")),
    "presence of a third kind": bytes_field(4, bytes_field(1, CID) + number_field(2, 2)),
    "large block": bytes_field(3, bytes_field(2, bytes(MAX_BLOCK_BYTES + 1))),
    "large bare block": bytes_field(2, bytes(MAX_BLOCK_BYTES + 1)),
    "large message": bytes((4 << 20) + 1),
    "many wants": bytes_field(1, bytes_field(1, bytes_field(1, b"x")) * (MAX_ENTRIES + 1)),
    "many wants in many lists": bytes_field(1, bytes_field(1, bytes_field(1, b"x")) * 5000) * 2,
    "many presences": bytes_field(4, bytes_field(1, b"x")) * (MAX_ENTRIES + 1),
    "many unknown fields": number_field(9, 0) * (MAX_ENTRIES + 1),
    "many fields in an entry": bytes_field(1, bytes_field(1, bytes_field(1, b"x") + number_field(9, 0) * 20)),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_breaks_a_rule_is_refused(data):
    with pytest.raises(BadContent):
        decode_message(data)


def test_a_message_that_others_would_not_read_is_not_written():
    blocks = (Payload(bytes(MAX_BLOCK_BYTES)),) * 2
    with pytest.raises(ValueError, match="not read"):
        encode_message(Message(payloads=blocks))
