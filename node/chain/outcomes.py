"""What a sender asks for and what it gets back, and the store that remembers it between crashes.

The store is a Protocol here, beside its consumer; the journal implements it.
"""

from dataclasses import dataclass
from typing import Protocol

from node.chain.client import Call
from node.job.transactions import TxRow
from node.types import Address, BlockNumber, TxHash, Wei


@dataclass(frozen=True, slots=True)
class TxIntent:
    """An order to send one call once. The id is stable over restarts, such as ``j17:agree``."""

    intent_id: str
    call: Call


@dataclass(frozen=True, slots=True)
class Mined:
    """The call is on the chain, succeeded, and has the configured confirmations."""

    intent_id: str
    tx_hash: TxHash
    block_number: BlockNumber
    gas_used: int
    fee_wei: Wei


@dataclass(frozen=True, slots=True)
class Failed:
    """The call had no effect: refused before it took a nonce (``tx_hash`` None), or mined but reverted."""

    intent_id: str
    reason: str
    tx_hash: TxHash | None
    by_policy: bool = False
    """The signer's rules forbade it, not the contract."""


TxOutcome = Mined | Failed


class TxStore(Protocol):
    """Durable rows of intents and their signed payloads; every write is on disk when it returns."""

    async def reserve(
        self,
        intent_id: str,
        what: str,
        to: Address,
        data: bytes,
        value_wei: int,
        chain_nonce: int,
        *,
        exact: bool = False,
    ) -> TxRow:
        """Return the intent's row, a new open one with the next free nonce if there was none.

        The next free nonce is ``chain_nonce`` or one more than the highest nonce of an open row; with
        ``exact`` it is ``chain_nonce``.
        """
        ...

    async def record_attempt(
        self, intent_id: str, tx_hash: TxHash, raw: bytes, max_fee_wei: int, tip_wei: int
    ) -> None:
        """Write a signed payload down, before it leaves the machine."""
        ...

    async def settle(
        self,
        intent_id: str,
        status: str,
        tx_hash: TxHash | None,
        block_number: int | None,
        gas_used: int,
        fee_wei: int,
        reason: str | None,
    ) -> None:
        """Write the final outcome (a ``TxStatus`` other than open)."""
        ...

    async def row(self, intent_id: str) -> TxRow | None:
        """Return an intent's row."""
        ...

    async def rows_at(self, nonce: int) -> list[TxRow]:
        """Return every row that has this nonce, with or without an outcome."""
        ...

    async def open_rows(self) -> list[TxRow]:
        """Return every row without an outcome."""
        ...
