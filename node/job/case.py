"""A dispute that this node was drawn to rule on, from the draw to the ruling. Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum

from node.types import BlockNumber, DealId


class CasePhase(StrEnum):
    """Where a case stands. What is decided is sent until it is mined, or can count no more."""

    OPEN = "open"
    DECIDED = "decided"
    RULED = "ruled"
    DECLINED = "declined"
    LAPSED = "lapsed"


class Decision(StrEnum):
    """A ruling: for the provider, or for the job creator."""

    ACCEPT = "accept"
    REJECT = "reject"


OPEN_PHASES = frozenset({CasePhase.OPEN, CasePhase.DECIDED})


@dataclass(frozen=True, slots=True)
class Case:
    """One dispute. ``drawn_in`` is the block of the draw; ``reason`` tells why it stands as it does.

    ``missed`` counts the tries in which the result could not be had, the first begun at block time
    ``missed_since``: only a provider that had many chances is ruled against for it.
    """

    deal_id: DealId
    drawn_in: BlockNumber
    phase: CasePhase = CasePhase.OPEN
    decision: Decision | None = None
    reason: str = ""
    missed: int = 0
    missed_since: int = 0

    @property
    def is_open(self) -> bool:
        """Whether there is still something to do."""
        return self.phase in OPEN_PHASES

    def decided(self, decision: Decision, reason: str) -> "Case":
        """Return the case with what will be ruled."""
        return replace(self, phase=CasePhase.DECIDED, decision=decision, reason=reason)

    def missing(self, began: int) -> "Case":
        """Return the case after a try, begun at block time ``began``, that did not bring the result."""
        return replace(self, missed=self.missed + 1, missed_since=self.missed_since or began)

    def ruled(self) -> "Case":
        """Return the case once the ruling is on chain."""
        return replace(self, phase=CasePhase.RULED)

    def declined(self, reason: str) -> "Case":
        """Return the case left to the next mediator."""
        return replace(self, phase=CasePhase.DECLINED, reason=reason)

    def lapsed(self, reason: str) -> "Case":
        """Return the case that is not ours to rule on any more."""
        return replace(self, phase=CasePhase.LAPSED, reason=reason)

    def drawn_again(self, block_number: BlockNumber) -> "Case":
        """Return the case after another draw of us for the same deal, as a reorganisation can bring about."""
        return self if self.is_open else Case(self.deal_id, block_number)
