import pytest

from node.publisher.cid import (
    DAG_PB,
    RAW,
    BlockId,
    decode_block_id,
    hash_block,
    parse_cid,
    parse_inline_cid,
    read_block_id,
)
from node.publisher.errors import BadContent, InvalidCid
from node.publisher.varint import decode_varint, encode_varint

HELLO = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
EMPTY_DIRECTORY_V1 = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
EMPTY_DIRECTORY_V0 = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"


def test_the_cid_of_raw_bytes_is_the_one_everybody_knows():
    assert hash_block(RAW, b"hello world").to_cid() == HELLO


@pytest.mark.parametrize("text", [HELLO, EMPTY_DIRECTORY_V1, EMPTY_DIRECTORY_V0])
def test_a_cid_survives_text_and_binary(text):
    block_id = parse_cid(text)
    assert block_id.to_cid() == text
    assert decode_block_id(block_id.to_bytes()) == block_id


@pytest.mark.parametrize(("text", "block"), [("bafkqaaa", b""), ("bafkqabtimvwgy3yk", b"hello\n")])
def test_an_identity_cid_holds_its_block(text, block):
    block_id = parse_inline_cid(text)
    assert (block_id.digest, block_id.to_cid()) == (block, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        HELLO,
        "bafkqabtimvwgy3y",  # cut
        "bafkqabtimvwgy3yka",  # longer than it says
        "BAFKQABTIMVWGY3YK",
        "bafkqaab",  # an unused bit at the end is not zero
        "bafyaabakaieac",  # dag-pb
        "bafkq" + "a" * 100_000,
    ],
)
def test_any_other_text_holds_no_block(text):
    assert parse_inline_cid(text) is None


def test_a_block_in_a_cid_is_never_taken_for_the_stored_one_with_that_digest():
    inline = parse_inline_cid("bafkqai" + "a" * 52)
    assert inline.digest == bytes(32)
    assert inline != BlockId(RAW, bytes(32))


def test_both_versions_name_the_same_block():
    old, new = parse_cid(EMPTY_DIRECTORY_V0), parse_cid(EMPTY_DIRECTORY_V1)
    assert (old.codec, old.digest) == (new.codec, new.digest) == (DAG_PB, old.digest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "Qm",
        HELLO.upper(),
        HELLO[:-1],
        HELLO + "a",
        HELLO[:-1] + "f",  # the two unused bits at the end are not zero
        "z" + HELLO[1:],
        HELLO.replace("bafkrei", "bafyrei"),  # dag-cbor
        "bafkqaaa",  # identity
        EMPTY_DIRECTORY_V0.replace("U", "0"),  # not a base58 digit
        "\uff42" + HELLO[1:],
        HELLO[:20] + "\n" + HELLO[21:],
    ],
)
def test_what_the_node_cannot_check_is_no_cid(text):
    with pytest.raises(InvalidCid):
        parse_cid(text)


def test_a_binary_cid_is_read_from_the_front_of_longer_bytes():
    block_id = BlockId(RAW, bytes(32))
    assert read_block_id(block_id.to_bytes() + b"rest") == (block_id, 36)
    with pytest.raises(InvalidCid):
        decode_block_id(block_id.to_bytes() + b"rest")
    with pytest.raises(InvalidCid):
        read_block_id(block_id.to_bytes()[:-1])


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**64 - 1])
def test_a_varint_survives(value):
    assert decode_varint(b"x" + encode_varint(value), 1) == (value, 1 + len(encode_varint(value)))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x00", b"\xff" * 10 + b"\x01", b"\xff" * 9 + b"\x02"])
def test_a_varint_that_is_cut_padded_or_too_large_is_refused(data):
    with pytest.raises(BadContent):
        decode_varint(data)
