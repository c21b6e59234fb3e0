"""Which block "the newest" means, so that no read is answered from a state older than what was seen before.

Behind one address there are often several machines, and one of them may lag. A read at "latest" then answers
from an old state without saying so. The pool therefore asks for state at a numbered block, the newest it has
seen: a machine that lags says that it does not have it, and is asked again or passed over.
"""

from collections.abc import Sequence

from node.clock import Clock

_FRESH_S = 1.0
_FORGOTTEN_AFTER_S = 300.0
_BLOCK_PARAMETER = {
    "eth_call": 1,
    "eth_estimateGas": 1,
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
}


class Newest:
    """The highest block seen on the chain, and when a head was last asked for.

    A height that no endpoint has reached again for five minutes is forgotten: it came from an endpoint that
    was wrong, or from a development chain that was set back.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._number: int | None = None
        self._reached_at = 0.0
        self._asked_at = float("-inf")

    @property
    def fresh(self) -> bool:
        """Whether a head was seen within the last second."""
        return self._number is not None and self._clock.monotonic() - self._asked_at <= _FRESH_S

    def head(self, number: int) -> None:
        """Take note of an endpoint's newest block."""
        self._asked_at = self._clock.monotonic()
        self.reached(number)
        if self._asked_at - self._reached_at > _FORGOTTEN_AFTER_S:
            self._number, self._reached_at = number, self._asked_at

    def reached(self, number: int) -> None:
        """Take note of any block that is on the chain."""
        if self._number is None or number >= self._number:
            self._number, self._reached_at = number, self._clock.monotonic()

    def has(self, number: int) -> bool:
        """Whether a block of this height was seen."""
        return self._number is not None and number <= self._number

    def needed_for(self, method: str, params: Sequence[object]) -> bool:
        """Whether the request reads the newest state."""
        index = _BLOCK_PARAMETER.get(method)
        return index is not None and (len(params) <= index or params[index] in ("latest", None))

    def numbered(self, method: str, params: Sequence[object]) -> list[object]:
        """Return the parameters with the newest block's number in place of "latest"."""
        index = _BLOCK_PARAMETER[method]
        padded = [*params, None] if len(params) == index else list(params)
        padded[index] = "latest" if self._number is None else hex(self._number)
        return padded
