"""What a judged run came to."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Findings:
    """What was wrong, by invariant, and what was counted on the way.

    ``read`` counts the results that another reader got over the gateway, ``early`` by name the calls that a
    reorganisation put before what they rest on, and that reverted for it, and ``again`` those that reverted
    because an earlier attempt, mined and reverted once, came back in another block and succeeded.
    """

    broken: list[str] = field(default_factory=list)
    deals: int = 0
    lost: int = 0
    read: int = 0
    transactions: int = 0
    replacements: int = 0
    early: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    reorganisations: int = 0
    stages: int = 0
    kills: int = 0
    slowest_start_s: float = 0.0

    def check(self, holds: bool, invariant: str, what: str) -> None:
        if not holds:
            self.broken.append(f"{invariant}: {what}")
