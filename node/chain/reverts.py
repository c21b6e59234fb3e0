"""Why a call reverted, in the words of the contract, and what kind of trouble those words mean.

Facts: Solidity's ``Error(string)`` and ``Panic(uint256)`` revert data; the JSON-RPC error shapes of geth,
Nitro, Anvil, Nethermind and Erigon; the texts of the two known deployments (``lilypad.md`` 2.12 and the
contracts_abi README). What to do about each kind is decided by the handlers, who go by ``Meaning`` alone.
"""

import re
from enum import StrEnum
from typing import Any

from node.chain.rpc import RpcError
from node.errors import NodeError

WITHOUT_REASON = "without a reason"
_ERROR_SELECTOR = bytes.fromhex("08c379a0")
_PANIC_SELECTOR = bytes.fromhex("4e487b71")
_MAX_REASON_BYTES = 256
_HEX = re.compile(r"0x[0-9a-fA-F]*")
_PANICS = {
    0x01: "assertion failed",
    0x11: "arithmetic overflow",
    0x12: "division by zero",
    0x21: "number outside an enum",
    0x31: "pop from an empty array",
    0x32: "index out of bounds",
    0x41: "too much memory",
    0x51: "call of an empty function pointer",
}


class Meaning(StrEnum):
    """What a revert tells about the world; one way of acting for each."""

    MOVED_ON = "moved_on"
    """The deal is in another state than assumed: read it again, plan again."""
    OTHER_TERMS = "other_terms"
    """The id is stored with other terms: squatted, or not what we agreed to. Never adapt, take another id."""
    DONE_ALREADY = "done_already"
    """An earlier transaction of ours did it."""
    WRONG_KEY = "wrong_key"
    """This account has no such right in this deal. Permanent."""
    TOO_EARLY = "too_early"
    """Block time is not there yet."""
    TOO_LATE = "too_late"
    """Block time is past a deadline that binds."""
    BAD_TERMS = "bad_terms"
    """The market takes no deal of such terms. Permanent."""
    NO_TOKENS = "no_tokens"
    """The wallet owns less than is to be locked: fund it."""
    NO_ALLOWANCE = "no_allowance"
    """The market may take less than is to be locked: approve."""
    ESCROW_GONE = "escrow_gone"
    """Some party's pooled escrow was taken out: find whose, do not retry blindly."""
    PAUSED = "paused"
    """The token's owner paused it: hold everything, retry later."""
    WRONG_ENTRY = "wrong_entry"
    """Another contract takes this call, or another mediator was drawn. Permanent."""
    MISWIRED = "miswired"
    """The wrong contract, or one whose deployment was not finished. Permanent."""
    OVERFLOW = "overflow"
    """Numbers of this deal are too large for the contract's arithmetic. Permanent."""
    DEFECT = "defect"
    """No words at all: a missing function, as of the two timeouts that never work on Lilypad's contracts."""
    UNKNOWN = "unknown"
    """Words that neither deployment uses."""


_MEANINGS = {
    Meaning.MOVED_ON: (
        "DealNegotiating",
        "DealAgreed",
        "ResultsSubmitted",
        "ResultsChecked",
        "Not correct state",
    ),
    Meaning.OTHER_TERMS: (
        "RP",
        "JC",
        "Solver",
        "Mediators",
        "Mediator",
        "Timeout",
        "Collateral",
        "Price",
        "Payment",
        "Results",
        "Mediation",
    ),
    Meaning.DONE_ALREADY: ("RP has already agreed", "JC has already agreed"),
    Meaning.WRONG_KEY: (
        "Only RP / JC",
        "Only RP",
        "Only JC",
        "Only JC or RP",
        "Only RP or JC",
        "LilypadPayments: Can only be called by the RP",
        "LilypadPayments: Can only be called by the JC",
    ),
    Meaning.TOO_EARLY: ("Not timed out",),
    Meaning.TOO_LATE: ("Timed out",),
    Meaning.BAD_TERMS: (
        "RP missing",
        "JC missing",
        "Solver missing",
        "Mediators <= 0",
        "RP / JC same",
        "Agree deposit must be 0",
        "Mediate deposit must be 0",
        "Deal does not exist",
        "Mediator missing",
        "Mediator twice",
        "Mediator is RP",
        "Mediator is JC",
        "Timeout too long",
        "Amount too large",
        "Multiple too large",
        "Instruction count too large",
    ),
    Meaning.NO_TOKENS: ("LilypadPayments: Insufficient balance", "ERC20: transfer amount exceeds balance"),
    Meaning.NO_ALLOWANCE: (
        "LilypadPayments: Insufficient allowance",
        "ERC20: insufficient allowance",
        "Token allowance not enough",
    ),
    Meaning.ESCROW_GONE: ("LilypadToken: not enough funds in escrow",),
    Meaning.PAUSED: ("ERC20Pausable: token transfer while paused", "Pausable: paused"),
    Meaning.WRONG_ENTRY: (
        "Only mediation",
        "tx.origin must be the mediator",
        "msg.sender must be the mediator",
        "mediator cannot be 0x0",
    ),
    Meaning.MISWIRED: (
        "ControllerOwnable: Only the controller can call this method",
        "ControllerOwnable: Controller address must be defined",
    ),
}
_MEANING_OF = {text: meaning for meaning, texts in _MEANINGS.items() for text in texts}


def meaning_of(reason: str) -> Meaning:
    """Return what kind of trouble a revert's text means; UNKNOWN for words that no market's contract uses."""
    if reason == WITHOUT_REASON:
        return Meaning.DEFECT
    if reason.startswith("Panic 0x11"):
        return Meaning.OVERFLOW
    return _MEANING_OF.get(reason, Meaning.UNKNOWN)


_REMEDIES = {
    Meaning.NO_TOKENS: "fund the wallet with payment tokens",
    Meaning.NO_ALLOWANCE: "run sdv-node wallet approve",
    Meaning.PAUSED: "the token's owner paused it, nothing can move until it is released",
}


PASSING = frozenset(_REMEDIES)
"""What the operator or the token's owner can put right, so that waiting helps."""


def told(reason: str) -> str:
    """Return a revert's text with what to do about it, where there is something."""
    remedy = _REMEDIES.get(meaning_of(reason))
    return reason if remedy is None else f"{reason} ({remedy})"


class Reverted(NodeError):
    """A call was executed and reverted. ``reason`` is printable text, ``data`` the raw revert data."""

    def __init__(self, reason: str, data: bytes = b"") -> None:
        super().__init__(f"reverted: {reason}")
        self.reason = reason
        self.data = data

    @property
    def meaning(self) -> Meaning:
        """What kind of trouble it is."""
        return meaning_of(self.reason)


def reason_of(data: bytes) -> str:
    """Return the revert reason in printable text, at most 256 bytes of what the contract said."""
    if not data:
        return WITHOUT_REASON
    selector, body = data[:4], data[4:]
    if selector == _ERROR_SELECTOR and len(body) >= 64:
        offset = int.from_bytes(body[:32])
        if offset + 32 <= len(body):
            length = int.from_bytes(body[offset : offset + 32])
            text = body[offset + 32 : offset + 32 + min(length, _MAX_REASON_BYTES)]
            return printable(text) or WITHOUT_REASON
    if selector == _PANIC_SELECTOR and len(body) >= 32:
        code = int.from_bytes(body[:32])
        return f"Panic 0x{code:02x} ({_PANICS[code]})" if code in _PANICS else f"Panic 0x{code:x}"
    return f"custom error 0x{selector.hex()}"


def printable(text: bytes) -> str:
    """Return foreign bytes as text that is safe in a log line or on a terminal."""
    decoded = text.decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in decoded)


def reverted_from(error: RpcError) -> Reverted | None:
    """Return the revert that an RPC error reports, or None if the request failed for another reason."""
    revert_data = _revert_data(error.data)
    # Code 3 is "execution reverted" in geth's RPC; others use -32000 or -32015 and say it in the message.
    if error.code != 3 and "revert" not in error.message.lower() and not revert_data:
        return None
    if revert_data:
        return Reverted(reason_of(revert_data), revert_data)
    said = error.message.partition("reverted:")[2].strip()
    return Reverted(printable(said.encode()[:_MAX_REASON_BYTES]) or WITHOUT_REASON)


def _revert_data(value: Any) -> bytes:
    if isinstance(value, dict):
        value = value.get("data")
    if not isinstance(value, str):
        return b""
    digits = value.removeprefix("Reverted ").strip()
    if _HEX.fullmatch(digits) is None or len(digits) % 2:
        return b""
    return bytes.fromhex(digits[2:])
