"""The two hexadecimal notations of Ethereum JSON-RPC: quantities (``0x1f``) and data (``0x00ff``).

Facts: Ethereum execution API specification, "hex value encoding". Whatever an endpoint sends that is not in
one of them ends as BadReply, never as a ValueError further up.
"""

import re
from typing import Any

from node.errors import Unreachable
from node.types import Address, BlockHash, TxHash

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")


class BadReply(Unreachable):
    """The endpoint answered something that is not what the method promises: as useless as no answer."""


def quantity(value: Any, name: str) -> int:
    """Return the integer behind a quantity; raises BadReply."""
    if not isinstance(value, str) or _QUANTITY.fullmatch(value) is None:
        raise BadReply(f"the RPC endpoint sent {name}={value!r:.80}, expected a hexadecimal quantity")
    return int(value, 16)


def data(value: Any, name: str) -> bytes:
    """Return the bytes behind a data string; raises BadReply."""
    if not isinstance(value, str) or _DATA.fullmatch(value) is None:
        raise BadReply(f"the RPC endpoint sent {name}={value!r:.80}, expected hexadecimal data")
    return bytes.fromhex(value[2:])


def address(value: Any, name: str) -> Address:
    """Return an account in lower case; raises BadReply."""
    if not isinstance(value, str) or _ADDRESS.fullmatch(value) is None:
        raise BadReply(f"the RPC endpoint sent {name}={value!r:.80}, expected an address of 20 bytes")
    return Address(value.lower())


def hash32(value: Any, name: str) -> str:
    """Return 32 bytes in lower case notation; raises BadReply."""
    if not isinstance(value, str) or _HASH.fullmatch(value) is None:
        raise BadReply(f"the RPC endpoint sent {name}={value!r:.80}, expected a hash of 32 bytes")
    return value.lower()


def block_hash(value: Any) -> BlockHash:
    """Return a block's hash; raises BadReply."""
    return BlockHash(hash32(value, "block hash"))


def tx_hash(value: Any) -> TxHash:
    """Return a transaction's hash; raises BadReply."""
    return TxHash(hash32(value, "transaction hash"))
