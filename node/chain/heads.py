"""What the newest blocks of several endpoints say about them: block time, lag, agreement. Pure.

Times of blocks come from their headers, in whole seconds; ``at`` and ``now`` are of a monotonic clock.
"""

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

_WINDOW = 32
_SHORTEST_BLOCK_S, _LONGEST_BLOCK_S = 0.05, 60.0
_LAG_BLOCKS, _LAG_S = 3, 8.0
_STILL_BLOCKS, _STILL_S = 5, 10.0


@dataclass(frozen=True, slots=True)
class Head:
    """An endpoint's newest block; ``at`` is when this number was first seen."""

    number: int
    timestamp: int
    at: float


class BlockTime:
    """The time between blocks, measured over the last few dozen heads seen."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque(maxlen=_WINDOW)

    def add(self, number: int, timestamp: int) -> None:
        """Take note of a head; one that does not lie above the last one says nothing."""
        if not self._seen or number > self._seen[-1][0]:
            self._seen.append((number, timestamp))

    @property
    def seconds(self) -> float | None:
        """The mean time between blocks within sane bounds, None before two heads were seen."""
        if len(self._seen) < 2:
            return None
        (first, began), (last, ended) = self._seen[0], self._seen[-1]
        return min(max((ended - began) / (last - first), _SHORTEST_BLOCK_S), _LONGEST_BLOCK_S)


def silence_s(block_s: float | None, longest_s: float) -> float:
    """Return how long a light request may stay unanswered, so that silence shows within three block times.

    Two block times here and at most one until the next request. Never under two seconds, which a sound
    endpoint far away may need, and never above ``longest_s``.
    """
    if block_s is None:
        return longest_s
    return min(max(2 * block_s, 2.0), longest_s)


def survey_period_s(block_s: float | None) -> float:
    """Return how often every endpoint is looked at: once a block, but neither hastily nor rarely."""
    return 2.0 if block_s is None else min(max(block_s, 1.0), 12.0)


def behind(heads: Mapping[str, Head], now: float, block_s: float | None) -> dict[str, str]:
    """Return which endpoints are stale, each with its problem in words.

    Stale is a head that lies too many blocks under the best one, or that is under it and has stood still for
    several block times. A few blocks count only if they are some seconds: on a chain with four blocks a
    second, two endpoints are never asked at the same block.
    """
    if not heads:
        return {}
    block = block_s or 1.0
    most = max(_LAG_BLOCKS, math.ceil(_LAG_S / block))
    still = max(_STILL_BLOCKS * block, _STILL_S)
    best = max(head.number for head in heads.values())
    problems = {}
    for name, head in heads.items():
        lag = best - head.number
        if lag > most:
            problems[name] = f"its head {head.number} is {lag} blocks behind"
        elif lag and now - head.at > still:
            problems[name] = f"its head {head.number} has stood still for {now - head.at:.0f} s"
    return problems


@dataclass(frozen=True, slots=True)
class Agreement:
    """Who says the same about one block: ``apart`` is the outvoted minority, ``split`` means no majority."""

    split: bool
    apart: frozenset[str]


def agreement(hashes: Mapping[str, str]) -> Agreement:
    """Judge the hashes that endpoints gave for one height. More than half of them decide, else nobody."""
    if len(set(hashes.values())) <= 1:
        return Agreement(split=False, apart=frozenset())
    winner, votes = Counter(hashes.values()).most_common(1)[0]
    if 2 * votes <= len(hashes):
        return Agreement(split=True, apart=frozenset())
    return Agreement(split=False, apart=frozenset(name for name, found in hashes.items() if found != winner))
