"""Where the next transaction of a key stands in line, when others may send with the same key.

An operator's wallet or a second copy of the node may use the key at any moment. What is promised: a nonce is
given only to a call that still succeeds after every transaction of the key below that nonce which the
endpoint knows. So of two copies that send the same call, either both use one nonce and one is mined, or the
later one sees the call refused before it signs.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from node.chain.client import Chain
from node.chain.fees import TxSettings
from node.clock import Clock
from node.types import Address

_PATIENT_BLOCKS = 2


@dataclass(frozen=True, slots=True)
class Overtaken:
    """The call no longer succeeds: a transaction of the same key was mined before it."""

    reason: str


class Line:
    """The nonces of one key. One caller at a time: who asks signs, or gives back, before the next asks."""

    def __init__(self, chain: Chain, sender: Address, *, settings: TxSettings, clock: Clock) -> None:
        self._chain = chain
        self._sender = sender
        self._settings = settings
        self._clock = clock
        self._next = 0
        self._waited_for = 0
        self._contested = 0

    def taken(self, nonce: int) -> None:
        """Take note that a payload of ours may be alive under a nonce."""
        self._next = max(self._next, nonce + 1)

    def contested(self, nonce: int) -> None:
        """Take note that the pool holds another wallet's transaction under a nonce of ours."""
        self._contested = max(self._contested, nonce + 1)

    def given_back(self, nonce: int) -> None:
        """Take note that nothing was signed for a nonce; the highest one goes to the next caller."""
        if self._next == nonce + 1:
            self._next = nonce

    async def mined(self) -> int:
        """Return how many transactions of the key are in blocks."""
        return await self._chain.nonce(self._sender)

    async def next_nonce(
        self, mined_before: int, refusal: Callable[[], Awaitable[str | None]]
    ) -> int | Overtaken:
        """Return the nonce for a call that succeeded when ``mined_before`` transactions were in blocks.

        ``refusal`` simulates the call again and returns why it would revert. Transactions of others that wait
        in the pool are let into a block first, for two blocks at most: a stuck one is queued behind.
        """
        while True:
            mined = await self.mined()
            pending = await self._chain.nonce(self._sender, pending=True)
            if mined != mined_before:
                reason = await refusal()
                if reason is not None:
                    return Overtaken(reason)
                mined_before = mined
            elif (foreign := self._foreign(mined, pending)) > max(mined, self._waited_for):
                await self._let_through(foreign)
            else:
                return max(mined, pending, self._next)

    def _foreign(self, mined: int, pending: int) -> int:
        """Return the count of transactions up to the newest one of others that is known to wait."""
        return pending if pending > max(mined, self._next) else self._contested

    async def _let_through(self, pending: int) -> None:
        began = self._clock.monotonic()
        first = (await self._chain.head()).number
        while await self.mined() < pending:
            passed = (await self._chain.head()).number - first
            too_long = self._clock.monotonic() - began >= self._settings.resubmit_after_s
            if passed >= _PATIENT_BLOCKS or too_long:
                self._waited_for = pending
                return
            await self._clock.sleep(self._settings.poll_interval_s)
