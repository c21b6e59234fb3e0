"""Whether a delivered result is checked beyond its hashes before it is accepted, and what a check finds."""

import random
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from node.job.spec import JobSpec
from node.types import Cid, DealId

Check = Literal["never", "execution", "mediator"]
"""How the result of a run is checked; decided before the job is posted, and kept with the run."""


class Found(StrEnum):
    """What computing the job again here found out."""

    SAME = "same"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    """This machine cannot tell, as for a result of another determinism class."""


@dataclass(frozen=True, slots=True)
class Checked:
    """``evidence`` is the folder with what the finding rests on."""

    found: Found
    reason: str
    evidence: Path


class Checker(Protocol):
    """Computes jobs again on this machine."""

    def require(self) -> None:
        """Raise Misconfigured, with the remedy, if nothing can be computed here."""
        ...

    async def check(self, deal_id: DealId, spec: JobSpec, cid: Cid, directory: Path) -> Checked:
        """Compare a downloaded result with an execution of ours. Raises NodeError if there can be none."""
        ...


def drawn(rate: float, by: Literal["execution", "mediator"], chance: random.Random | None = None) -> Check:
    """Draw whether a run is checked; who could foresee it would do those jobs well, and no others."""
    return by if (chance or random.SystemRandom()).random() < rate else "never"
