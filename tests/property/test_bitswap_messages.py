"""Bitswap messages: what is written is read again, and no bytes at all do harm."""

from hypothesis import given
from hypothesis import strategies as st

from node.publisher.errors import BadContent
from node.publisher.p2p.ledger import Ledger, LedgerLimits
from node.publisher.p2p.messages import (
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
)
from node.publisher.varint import decode_varint

CIDS = st.binary(min_size=1, max_size=128)
WANTS = st.builds(Want, CIDS, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2**31 - 1))
MESSAGES = st.builds(
    Message,
    st.lists(WANTS, max_size=8).map(tuple),
    st.booleans(),
    st.lists(st.builds(Payload, st.binary(max_size=300), CIDS), max_size=4).map(tuple),
    st.lists(st.builds(Presence, CIDS, st.booleans()), max_size=8).map(tuple),
)


def read(encoded):
    length, offset = decode_varint(encoded)
    assert len(encoded) - offset == length
    return decode_message(encoded[offset:])


@given(MESSAGES)
def test_what_is_written_is_read_again(message):
    assert read(encode_message(message)) == message


@given(MESSAGES, st.sampled_from([Version.V1_0, Version.V1_1]))
def test_older_versions_keep_the_blocks_and_who_wants_what(message, version):
    again = read(encode_message(message, version))
    assert [payload.data for payload in again.payloads] == [payload.data for payload in message.payloads]
    assert [want.cid for want in again.wants] == [want.cid for want in message.wants]
    assert again.presences == ()


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data):
    try:
        message = decode_message(data)
    except BadContent:
        return
    assert len(message.wants) <= MAX_ENTRIES


@given(MESSAGES, st.data())
def test_a_damaged_message_is_read_or_refused_and_never_gives_a_wrong_block(message, data):
    encoded = bytearray(encode_message(message))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    try:
        again = decode_message(encoded[decode_varint(encoded)[1] :])
    except BadContent:
        return
    for payload in again.payloads:
        block_id = block_id_of(payload)
        assert block_id is None or prefix_of(block_id) == payload.prefix


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(WANTS, max_size=12), st.booleans()), max_size=12))
def test_the_ledger_stays_within_its_bounds_and_owes_only_what_was_asked(steps):
    ledger = Ledger(LedgerLimits(wants_per_peer=5, wants=100, peers=2))
    asked = set()
    for peer, wanted, full in steps:
        asked |= {(peer, want.cid) for want in wanted if not want.cancel}
        due = ledger.receive(peer, tuple(wanted), full=full)
        assert due == bool(ledger.next_batch(peer, 1))
    assert ledger.peers <= 2
    for peer in "abc":
        batch = ledger.next_batch(peer, 100)
        assert len(batch) <= 5
        assert all((peer, want.cid) in asked and not want.cancel for want in batch)
        assert all(ledger.answered(peer, want) for want in batch)
    assert ledger.wants == 0
    assert ledger.peers == 0
