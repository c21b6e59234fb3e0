"""Market events from logs, and the ways in which hostile logs are set aside."""

from typing import Any

import pytest
from eth_abi.abi import encode

from node.chain import events
from node.chain.client import RawLog
from node.chain.events import (
    DealStateChange,
    JobAdded,
    LogRef,
    MediationRequested,
    Payment,
    Undecodable,
    decode,
)
from node.job.deal import AgreementState, PaymentDirection, PaymentReason
from node.types import Address, BlockHash, BlockNumber, TxHash

CALLER, PAYEE = "0x" + "11" * 20, "0x" + "22" * 20
REF = LogRef(BlockNumber(7), BlockHash("0x" + "bb" * 32), TxHash("0x" + "cc" * 32), 3)


def log(topic: str, data: bytes, *more_topics: str) -> RawLog:
    return RawLog(
        Address("0x" + "aa" * 20),
        (topic, *more_topics),
        data,
        REF.block_number,
        REF.block_hash,
        REF.tx_hash,
        REF.log_index,
    )


def job_added(number: int = 5, module: Any = b"sdv", inputs: Any = (b"Prompt=a cat",)) -> RawLog:
    types = ["uint256", "address", "address", "bytes", "bytes[]"]
    return log(events.JOB_ADDED, encode(types, [number, CALLER, PAYEE, module, list(inputs)]))


def problem(raw: RawLog) -> str:
    event = decode(raw)
    assert isinstance(event, Undecodable)
    assert event.ref == REF
    return event.problem


def test_a_job_is_decoded_with_its_place():
    text = "Prompt=ein See = still \N{SNOWMAN}"
    assert decode(job_added(17, b"sdv-pipeline:v1.1", [text.encode(), b""])) == JobAdded(
        REF, 17, Address(CALLER), Address(PAYEE), "sdv-pipeline:v1.1", (text, "")
    )


def test_the_other_events_are_decoded():
    data = encode(["string", "uint8"], ["j1-x", 4])
    assert decode(log(events.DEAL_STATE_CHANGE, data)) == DealStateChange(
        REF, "j1-x", AgreementState.RESULTS_CHECKED
    )
    data = encode(["string", "address", "uint256", "uint8", "uint8"], ["j1-x", PAYEE, 2**255, 3, 1])
    assert decode(log(events.PAYMENT, data)) == Payment(
        REF, "j1-x", PAYEE, 2**255, PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT
    )
    data = encode(["string", "address"], ["j1-x", PAYEE])
    assert decode(log(events.MEDIATION_REQUESTED, data)) == MediationRequested(REF, "j1-x", PAYEE)


def test_logs_of_other_events_are_none():
    assert decode(log("0x" + "12" * 32, b"")) is None
    no_topics = RawLog(Address(CALLER), (), b"", REF.block_number, REF.block_hash, REF.tx_hash, 0)
    assert decode(no_topics) is None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (job_added(module=b"\xff\xfe"), "module is not valid UTF-8"),
        (job_added(module=b"\xed\xa0\x80"), "module is not valid UTF-8"),
        (job_added(module=b"m" * 201), "module is longer than 200 bytes"),
        (job_added(inputs=[b"Prompt=a\x00b"]), "input contains control characters"),
        (job_added(inputs=[b"Prompt=a\nb"]), "input contains control characters"),
        (job_added(inputs=["Prompt=\x85".encode()]), "input contains control characters"),
        (job_added(inputs=[b"Prompt=\x1b[2J"]), "input contains control characters"),
        (job_added(inputs=[b"\xc3\x28"]), "input is not valid UTF-8"),
        (job_added(inputs=[b"p" * 10_240]), "input is longer than 2048 bytes"),
        (job_added(inputs=[b"a=1"] * 100), "inputs has more than 64 entries"),
        (job_added(inputs=[b"p" * 2000] * 9), "inputs are longer than 16384 bytes together"),
    ],
)
def test_text_that_is_not_clean_or_too_long_is_set_aside_with_the_jobs_number(raw: RawLog, words: str):
    assert problem(raw) == words
    event = decode(raw)
    assert isinstance(event, Undecodable)
    assert (event.event, event.number) == ("JobAdded", 5)


def test_the_limits_themselves_are_allowed():
    event = decode(job_added(module=b"m" * 200, inputs=[b"p" * 2048] * 8))
    assert isinstance(event, JobAdded)
    assert isinstance(decode(job_added(inputs=[b"a=1"] * 64)), JobAdded)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 159, 160, 200])
def test_truncated_data_is_set_aside(size: int):
    raw = job_added()
    assert problem(log(events.JOB_ADDED, raw.data[:size]))


@pytest.mark.parametrize("word", range(7))
@pytest.mark.parametrize("value", [2**256 - 1, 2**64, 2**255, 1_000_000])
def test_pointers_and_lengths_that_lead_nowhere_are_set_aside(word: int, value: int):
    raw = job_added(number=1)
    data = raw.data[: 32 * word] + value.to_bytes(32) + raw.data[32 * word + 32 :]
    event = decode(log(events.JOB_ADDED, data))
    harmless = (word == 0 and value < 2**63) or (word in {1, 2} and value < 2**160)
    assert isinstance(event, JobAdded if harmless else Undecodable)


def test_a_pointer_back_into_the_pointers_is_set_aside():
    raw = job_added(number=2)
    data = raw.data[:96] + bytes(32) + raw.data[128:]
    assert problem(log(events.JOB_ADDED, data)) == "the pointer at byte 96 leads outside the data"


def test_an_array_that_points_at_itself_costs_nothing():
    head = (1).to_bytes(32) + bytes(64) + (160).to_bytes(32) + (160).to_bytes(32)
    data = head + (64).to_bytes(32) + (0).to_bytes(32) * 64
    assert problem(log(events.JOB_ADDED, data))


def test_a_job_number_beyond_any_counter_is_not_repeated():
    event = decode(job_added(number=2**200))
    assert isinstance(event, Undecodable)
    assert event.number is None


@pytest.mark.parametrize(
    ("types", "topic", "values", "words"),
    [
        (["bytes", "uint256"], events.DEAL_STATE_CHANGE, [b"j1", 11], "unknown agreement state"),
        (["bytes", "uint256"], events.DEAL_STATE_CHANGE, [b"", 1], "deal id is empty"),
        (["bytes", "uint256"], events.DEAL_STATE_CHANGE, [b"j" * 65, 1], "deal id is longer than 64 bytes"),
        (["bytes", "uint256"], events.DEAL_STATE_CHANGE, [b"\xff", 1], "deal id is not valid UTF-8"),
        (["bytes", "uint256"], events.MEDIATION_REQUESTED, [b"j1", 2**160], "is not an address"),
        (["bytes", "address", *["uint256"] * 3], events.PAYMENT, [b"j", PAYEE, 1, 5, 0], "payment reason"),
        (["bytes", "address", *["uint256"] * 3], events.PAYMENT, [b"j", PAYEE, 1, 0, 4], "payment direction"),
    ],
)
def test_values_outside_their_types_are_set_aside(types, topic, values, words):
    assert words in problem(log(topic, encode(types, values)))


def test_an_event_with_indexed_fields_is_not_the_markets():
    assert "expected none" in problem(log(events.JOB_ADDED, job_added().data, "0x" + "00" * 32))
