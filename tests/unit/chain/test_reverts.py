"""Revert reasons in words, whatever shape the endpoint gives them."""

import pytest
from eth_abi.abi import encode

from node.chain.reverts import Meaning, Reverted, reason_of, reverted_from
from node.chain.rpc import RpcError

MISSING = bytes.fromhex("08c379a0") + encode(["string"], ["RP missing"])


def panic(code: int) -> bytes:
    return bytes.fromhex("4e487b71") + code.to_bytes(32)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (MISSING, "RP missing"),
        (panic(0x11), "Panic 0x11 (arithmetic overflow)"),
        (panic(0x32), "Panic 0x32 (index out of bounds)"),
        (panic(0x99), "Panic 0x99"),
        (b"", "without a reason"),
        (b"\xde\xad\xbe\xef" + bytes(32), "custom error 0xdeadbeef"),
        (b"\x01", "custom error 0x01"),
        (MISSING[:20], "custom error 0x08c379a0"),
        (bytes.fromhex("08c379a0") + b"\xff" * 64, "custom error 0x08c379a0"),
    ],
)
def test_revert_data_is_put_into_words(data: bytes, reason: str):
    assert reason_of(data) == reason


def test_a_hostile_reason_is_made_harmless_and_short():
    text = b"\x1b[2Jclear" + b"\xff" + b"a" * 10_000
    data = bytes.fromhex("08c379a0") + encode(["bytes"], [text])
    reason = reason_of(data)
    assert reason.isprintable()
    assert len(reason) <= 256


@pytest.mark.parametrize(
    "error",
    [
        RpcError(3, "execution reverted: RP missing", "0x" + MISSING.hex()),
        RpcError(-32000, "execution reverted: RP missing"),
        RpcError(-32000, "execution reverted", {"data": "0x" + MISSING.hex()}),
        RpcError(-32015, "VM execution error.", "Reverted 0x" + MISSING.hex()),
    ],
)
def test_every_clients_error_shape_gives_the_reason(error: RpcError):
    reverted = reverted_from(error)
    assert reverted is not None
    assert reverted.reason == "RP missing"


@pytest.mark.parametrize(
    "error", [RpcError(-32005, "limit exceeded"), RpcError(-32000, "header not found", None), RpcError(0, "")]
)
def test_other_errors_are_no_reverts(error: RpcError):
    assert reverted_from(error) is None


def test_a_revert_without_data_is_still_a_revert():
    reverted = reverted_from(RpcError(3, "execution reverted", "0x"))
    assert reverted is not None
    assert reverted.reason == "without a reason"


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("DealNegotiating", Meaning.MOVED_ON),
        ("Not correct state", Meaning.MOVED_ON),
        ("RP", Meaning.OTHER_TERMS),
        ("Mediation", Meaning.OTHER_TERMS),
        ("JC has already agreed", Meaning.DONE_ALREADY),
        ("Only RP / JC", Meaning.WRONG_KEY),
        ("Not timed out", Meaning.TOO_EARLY),
        ("Timed out", Meaning.TOO_LATE),
        ("Mediator twice", Meaning.BAD_TERMS),
        ("LilypadPayments: Insufficient balance", Meaning.NO_TOKENS),
        ("LilypadPayments: Insufficient allowance", Meaning.NO_ALLOWANCE),
        ("Token allowance not enough", Meaning.NO_ALLOWANCE),
        ("LilypadToken: not enough funds in escrow", Meaning.ESCROW_GONE),
        ("ERC20Pausable: token transfer while paused", Meaning.PAUSED),
        ("tx.origin must be the mediator", Meaning.WRONG_ENTRY),
        ("ControllerOwnable: Only the controller can call this method", Meaning.MISWIRED),
        ("Panic 0x11 (arithmetic overflow)", Meaning.OVERFLOW),
        ("without a reason", Meaning.DEFECT),
        ("RP is a fine fellow", Meaning.UNKNOWN),
        ("the wallet holds 3 of the chain's token for gas and needs 4: send some to 0x12", Meaning.UNKNOWN),
    ],
)
def test_what_a_contract_says_has_one_meaning(reason: str, meaning: Meaning):
    assert Reverted(reason).meaning is meaning
