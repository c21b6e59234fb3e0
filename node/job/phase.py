"""The phases of a job, as the design names them.

Phases in flight end in -ing (an effect of ours is under way), resting phases are participles, and the
terminal ones are left only when a reorganisation drops the blocks that ended the job.
"""

from enum import StrEnum


class Phase(StrEnum):
    """Where a job stands on our side; the contract's own state is ``AgreementState``."""

    SEEN = "SEEN"
    PROPOSING = "PROPOSING"
    PROPOSED = "PROPOSED"
    AGREEING = "AGREEING"
    WITHDRAWING = "WITHDRAWING"
    AGREED = "AGREED"
    RENDERING = "RENDERING"
    PUBLISHING = "PUBLISHING"
    SUBMITTING = "SUBMITTING"
    SUBMITTED = "SUBMITTED"
    DISPUTED = "DISPUTED"
    CLAIMING = "CLAIMING"
    FAILING = "FAILING"
    REFUSED = "REFUSED"
    LAPSED = "LAPSED"
    PAID = "PAID"
    REJECTED = "REJECTED"
    UNPAID = "UNPAID"
    FAILED = "FAILED"

    @property
    def terminal(self) -> bool:
        """True if nothing can happen to the job any more."""
        return self in TERMINAL

    @property
    def open_deal(self) -> bool:
        """True while money of ours is, or is about to be, locked in the job's deal."""
        return self in OPEN_DEAL


TERMINAL = frozenset({Phase.REFUSED, Phase.LAPSED, Phase.PAID, Phase.REJECTED, Phase.UNPAID, Phase.FAILED})
OPEN_DEAL = frozenset(Phase) - TERMINAL - {Phase.SEEN}
WORKING = frozenset({Phase.AGREED, Phase.RENDERING, Phase.PUBLISHING})
NEGOTIATING = frozenset({Phase.SEEN, Phase.PROPOSING, Phase.PROPOSED, Phase.AGREEING, Phase.WITHDRAWING})
"""Nothing is agreed yet."""
UNDELIVERED = (NEGOTIATING - {Phase.SEEN}) | WORKING | {Phase.SUBMITTING, Phase.FAILING}
"""Agreed, or perhaps about to be, and neither a result nor a failure is on chain."""
LET_GO = frozenset({Phase.REFUSED, Phase.LAPSED})
"""Ended without an agreed deal."""
