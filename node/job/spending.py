"""What the key signed for, as it is remembered between signatures."""

from dataclasses import dataclass

from node.types import Address, DealId, Wei


@dataclass(frozen=True, slots=True)
class SignedFor:
    """One nonce and what its transaction can take. ``at`` is in seconds since the Unix epoch."""

    nonce: int
    at: float
    what: str
    deal_id: DealId | None
    counterparty: Address | None
    tokens_wei: Wei
    gas_wei: Wei
    """At worst while the transaction is under way, then what it did cost."""
    over: bool = False
    """The deal has ended: nothing of ours is locked in it."""
    failed: bool = False
    """The transaction had no effect."""
