"""Why a call reverted, in the words of the contract.

Facts: Solidity's ``Error(string)`` and ``Panic(uint256)`` revert data; the JSON-RPC error shapes of geth,
Nitro, Anvil, Nethermind and Erigon. What to do about each reason is decided elsewhere.
"""

import re
from typing import Any

from node.chain.rpc import RpcError
from node.errors import NodeError

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


class Reverted(NodeError):
    """A call was executed and reverted. ``reason`` is printable text, ``data`` the raw revert data."""

    def __init__(self, reason: str, data: bytes = b"") -> None:
        super().__init__(f"reverted: {reason}")
        self.reason = reason
        self.data = data


def reason_of(data: bytes) -> str:
    """Return the revert reason in printable text, at most 256 bytes of what the contract said."""
    if not data:
        return "without a reason"
    selector, body = data[:4], data[4:]
    if selector == _ERROR_SELECTOR and len(body) >= 64:
        offset = int.from_bytes(body[:32])
        if offset + 32 <= len(body):
            length = int.from_bytes(body[offset : offset + 32])
            text = body[offset + 32 : offset + 32 + min(length, _MAX_REASON_BYTES)]
            return printable(text) or "without a reason"
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
    return Reverted(printable(said.encode()[:_MAX_REASON_BYTES]) or "without a reason")


def _revert_data(value: Any) -> bytes:
    if isinstance(value, dict):
        value = value.get("data")
    if not isinstance(value, str):
        return b""
    digits = value.removeprefix("Reverted ").strip()
    if _HEX.fullmatch(digits) is None or len(digits) % 2:
        return b""
    return bytes.fromhex(digits[2:])
