"""Accounts as people write them, read strictly: what is mistyped must not be paid. Facts: EIP-55."""

import re

from node.types import Address

_WRITTEN = re.compile(r"0[xX]([0-9a-fA-F]{40})")


class NoAddress(ValueError):
    """A text that names no account; says why."""


def parse_address(text: object) -> Address:
    """Return the account in lower case.

    Raises NoAddress unless it is 0x and 40 hex digits; with both cases among them the checksum must be right.
    """
    written = _WRITTEN.fullmatch(text) if isinstance(text, str) else None
    if written is None:
        raise NoAddress("an address is 0x and 40 hex digits")
    digits = written[1]
    address = "0x" + digits.lower()
    if digits not in {digits.lower(), digits.upper()}:
        # Most texts have one case and need no hash function.
        from eth_utils.address import to_checksum_address

        if to_checksum_address(address) != "0x" + digits:
            raise NoAddress(
                "the checksum of the address, in its capital letters, is wrong: it is mistyped somewhere, "
                "copy it again"
            )
    return Address(address)
