"""What unanswered proposals cost in gas: an hour's worth of it is capped, because anybody can ask for bids.

A bid that is answered pays its own gas; one that is not has cost an ``agree`` and a ``timeoutAgree``.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable

from node.clock import Clock
from node.journal.ledger_rows import GasRow

GAS_PER_BID = 920_000
"""An unanswered proposal on the dearer deployment: ``agree`` 0.70 M and ``timeoutAgree`` 0.22 M gas."""
HOUR_S = 3600.0
BLOCKS_IN_AN_HOUR = 4 * 3600
"""Enough to look back on a chain with four blocks a second."""
_REMEMBERED_BIDS = 1000


class BidGas:
    """Hears of every transaction that was settled; tells what the last hour's lost bids burnt."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._proposed: OrderedDict[str, int] = OrderedDict()
        self._lost: deque[tuple[float, int]] = deque()

    def restore(self, rows: Iterable[GasRow]) -> None:
        """Take over what a node before this one spent."""
        for row in rows:
            self._take(row.intent_id, row.gas_used, row.at)

    def settled(self, intent_id: str, gas_used: int) -> None:
        """Count a transaction, mined or reverted."""
        self._take(intent_id, gas_used, self._clock.now())

    def last_hour(self) -> int:
        """Return the gas that bids lost within the last hour have burnt."""
        self._forget()
        return sum(gas for _, gas in self._lost)

    def _take(self, intent_id: str, gas_used: int, at: float) -> None:
        job_id, _, effect = intent_id.partition(":")
        if effect.startswith("propose:"):
            self._proposed[job_id] = gas_used
            while len(self._proposed) > _REMEMBERED_BIDS:
                self._proposed.popitem(last=False)
        elif effect.startswith("withdraw:"):
            self._lost.append((at, gas_used + self._proposed.pop(job_id, GAS_PER_BID)))

    def _forget(self) -> None:
        since = self._clock.now() - HOUR_S
        while self._lost and self._lost[0][0] < since:
            self._lost.popleft()
