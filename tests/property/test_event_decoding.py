"""Event decoding against eth_abi: equal on valid data, never raising on any data."""

from typing import Any

from eth_abi.abi import decode as reference_decode
from eth_abi.abi import encode
from eth_abi.exceptions import DecodingError
from hypothesis import given, settings
from hypothesis import strategies as st

from node.chain import events
from node.chain.client import RawLog
from node.chain.events import DealStateChange, JobAdded, MediationRequested, Payment, Undecodable, decode
from node.types import Address, BlockHash, BlockNumber, TxHash

TYPES = {
    events.JOB_ADDED: ("uint256", "address", "address", "bytes", "bytes[]"),
    events.DEAL_STATE_CHANGE: ("bytes", "uint8"),
    events.PAYMENT: ("bytes", "address", "uint256", "uint8", "uint8"),
    events.MEDIATION_REQUESTED: ("bytes", "address"),
}

clean = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40).map(str.encode)
deal_ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=15).map(str.encode)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
words = st.one_of(
    st.sampled_from([0, 1, 31, 32, 33, 64, 96, 128, 160, 192, 2**31, 2**63, 2**64, 2**255, 2**256 - 1]),
    st.integers(0, 400),
    st.integers(0, 2**256 - 1),
)


def values(topic: str) -> st.SearchStrategy[tuple[Any, ...]]:
    if topic == events.JOB_ADDED:
        return st.tuples(
            st.integers(0, 2**63 - 1), addresses, addresses, clean, st.lists(clean, max_size=6).map(tuple)
        )
    if topic == events.DEAL_STATE_CHANGE:
        return st.tuples(deal_ids, st.integers(0, 10))
    if topic == events.PAYMENT:
        return st.tuples(
            deal_ids, addresses, st.integers(0, 2**256 - 1), st.integers(0, 4), st.integers(0, 3)
        )
    return st.tuples(deal_ids, addresses)


def log(topic: str, data: bytes) -> RawLog:
    return RawLog(
        Address("0x" + "aa" * 20),
        (topic,),
        data,
        BlockNumber(1),
        BlockHash("0x" + "bb" * 32),
        TxHash("0x" + "cc" * 32),
        0,
    )


def plain(event: object) -> tuple[Any, ...]:
    """The fields as eth_abi would give them."""
    match event:
        case JobAdded(_, number, caller, payee, module, inputs):
            return number, caller, payee, module.encode(), tuple(text.encode() for text in inputs)
        case DealStateChange(_, deal_id, state):
            return deal_id.encode(), int(state)
        case Payment(_, deal_id, payee, amount, reason, direction):
            return deal_id.encode(), payee, amount, int(reason), int(direction)
        case MediationRequested(_, deal_id, mediator):
            return deal_id.encode(), mediator
    raise AssertionError(event)


@st.composite
def valid(draw: st.DrawFn) -> tuple[str, tuple[Any, ...]]:
    topic = draw(st.sampled_from(list(TYPES)))
    return topic, draw(values(topic))


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    topic, fields = draw(valid())
    data = bytearray(encode(TYPES[topic], fields))
    for _ in range(draw(st.integers(1, 4))):
        match draw(st.sampled_from(["word", "byte", "cut", "grow", "swap"])):
            case "word" if len(data) >= 32:
                at = 32 * draw(st.integers(0, len(data) // 32 - 1))
                data[at : at + 32] = draw(words).to_bytes(32)
            case "byte" if data:
                data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
            case "cut":
                del data[draw(st.integers(0, len(data))) :]
            case "grow":
                data += draw(st.binary(max_size=70))
            case "swap" if len(data) >= 64:
                one, two = (32 * draw(st.integers(0, len(data) // 32 - 1)) for _ in range(2))
                data[one : one + 32], data[two : two + 32] = data[two : two + 32], data[one : one + 32]
    return topic, bytes(data)


@given(valid())
@settings(max_examples=300)
def test_valid_data_decodes_to_what_eth_abi_reads(case: tuple[str, tuple[Any, ...]]):
    topic, fields = case
    event = decode(log(topic, encode(TYPES[topic], fields)))
    assert plain(event) == fields


@given(damaged())
@settings(max_examples=1500)
def test_damaged_data_never_raises_and_is_never_read_differently_from_eth_abi(case: tuple[str, bytes]):
    topic, data = case
    event = decode(log(topic, data))
    assert event is not None
    try:
        expected = reference_decode(TYPES[topic], data)
    except (DecodingError, OverflowError):
        assert isinstance(event, Undecodable)
        return
    if not isinstance(event, Undecodable):
        assert plain(event) == expected


@given(topic=st.sampled_from(list(TYPES)), data=st.binary(max_size=2000))
@settings(max_examples=500)
def test_arbitrary_bytes_never_raise(topic: str, data: bytes):
    assert decode(log(topic, data)) is not None
