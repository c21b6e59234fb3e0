"""A call whose transaction was mined and reverted, sent once more under the next id while it is still wanted.

An intent is one transaction for ever, so a revert for a passing reason (a balance, an allowance, a paused
token) would end what it was for. Its next attempt is an intent of its own, numbered in the journal:
``j17:withdraw:1``, ``j17:withdraw:1:2``, ``j17:withdraw:1:3``. Owns no pause: one call makes at most one new
transaction, and who calls again decides when.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from node.chain.outcomes import Failed, TxIntent, TxOutcome
from node.job.transactions import TxRow, TxStatus

REVERTED = frozenset({TxStatus.REVERTED})
SETTLED = frozenset({TxStatus.REVERTED, TxStatus.MINED})


class Rows(Protocol):
    """What is remembered of transactions; the journal's log, or the ``TxManager``."""

    async def row(self, intent_id: str) -> TxRow | None:
        """Return what is known of an intent, None if it never took a nonce."""
        ...


class Transactions(Rows, Protocol):
    """The chain's ``TxManager``."""

    async def send(self, intent: TxIntent) -> TxOutcome:
        """Return the confirmed outcome; the same intent id is never sent as two transactions."""
        ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """The newest attempt at a call, counted from 1. ``row`` is None while it has no nonce."""

    intent_id: str
    number: int
    row: TxRow | None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a call, and at which attempt."""

    outcome: TxOutcome
    number: int

    @property
    def reverted(self) -> bool:
        """Whether it was mined and reverted, at the price of its gas."""
        return isinstance(self.outcome, Failed) and self.outcome.tx_hash is not None


async def newest_attempt(rows: Rows, intent_id: str, over: frozenset[TxStatus] = REVERTED) -> Attempt:
    """Return the first attempt that is not ``over``, be it under way or still to be made."""
    number = 1
    while True:
        name = _numbered(intent_id, number)
        row = await rows.row(name)
        if row is None or row.status not in over:
            return Attempt(name, number, row)
        number += 1


async def send_while_wanted(
    transactions: Transactions,
    intent: TxIntent,
    wanted: Callable[[], Awaitable[bool]],
    *,
    most: int | None = None,
    over: frozenset[TxStatus] = REVERTED,
) -> Sent:
    """Send a call, or follow or repeat what became of it; after a recorded revert make the next attempt.

    A new attempt is made only while ``wanted``, which asks the chain, and, like every transaction, only once
    its simulation succeeds; never more than ``most`` of them. Otherwise the last outcome comes back again.
    With ``over`` SETTLED a success is followed by another attempt too: for a call whose effect can be undone.
    Raises what ``TxManager.send`` raises.
    """
    attempt = await newest_attempt(transactions, intent.intent_id, over)
    name, number = attempt.intent_id, attempt.number
    if attempt.row is None and number > 1 and ((most is not None and number > most) or not await wanted()):
        number -= 1
        name = _numbered(intent.intent_id, number)
    return Sent(await transactions.send(TxIntent(name, intent.call)), number)


def _numbered(intent_id: str, number: int) -> str:
    return intent_id if number == 1 else f"{intent_id}:{number}"
