"""What is remembered of a transaction: one row per intent, one attempt per signed payload.

A row is written when the nonce is reserved, an attempt before its bytes leave the machine, so that after a
crash the same payload is sent again instead of a second one being made.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from node.types import Address, TxHash, Wei


class TxStatus(StrEnum):
    """``open`` until the outcome is confirmed; the other three are final."""

    OPEN = "open"
    MINED = "mined"
    REVERTED = "reverted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class TxAttempt:
    """One signed payload of an intent; replacements share its nonce."""

    tx_hash: TxHash
    raw: bytes = field(repr=False)
    max_fee_wei: Wei
    tip_wei: Wei


@dataclass(frozen=True, slots=True)
class TxRow:
    """Everything known of an intent. ``nonce`` is None only for an intent refused before it took one."""

    intent_id: str
    what: str
    to: Address
    data: bytes = field(repr=False)
    value_wei: Wei
    nonce: int | None
    status: TxStatus
    attempts: tuple[TxAttempt, ...] = ()
    tx_hash: TxHash | None = None
    block_number: int | None = None
    gas_used: int = 0
    fee_wei: Wei = Wei(0)
    reason: str | None = None
