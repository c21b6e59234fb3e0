"""The orders a transition gives. Each is safe to carry out twice: its id names it for ever.

An order is given again under the same id when a reorganisation undid what it had brought about.
"""

from dataclasses import dataclass
from enum import StrEnum

from node.types import JobId


class EffectKind(StrEnum):
    """What has to be done; one handler each."""

    EVALUATE = "evaluate"
    PROPOSE = "propose"
    AGREE = "agree"
    WITHDRAW = "withdraw"
    RENDER = "render"
    PUBLISH = "publish"
    SUBMIT_RESULT = "submit_result"
    SUBMIT_FAILURE = "submit_failure"
    CLAIM_JUDGE_TIMEOUT = "claim_judge_timeout"
    CLAIM_MEDIATION_TIMEOUT = "claim_mediation_timeout"


@dataclass(frozen=True, slots=True)
class Effect:
    """An order for one job. ``attempt`` tells apart orders of one kind given at different times."""

    job_id: JobId
    kind: EffectKind
    attempt: int = 1

    @property
    def effect_id(self) -> str:
        """The stable id, also the id of the transaction the effect may send."""
        return f"{self.job_id}:{self.kind}:{self.attempt}"
