"""What a result deserves, from what was found out about it. Pure; what keeps from judging is no opinion.

A ruling moves other people's money, so each is one that any honest judge of the same class reaches: for the
provider only if the bytes are the same, against it only if they cannot be right. Whatever this machine cannot
tell is declined, and the next mediator is drawn.
"""

from dataclasses import dataclass, field
from typing import Any

from node.job.case import Decision
from node.job.comparison import Proof, Relation
from node.verification.integrity import Examined
from node.verification.report import Executed

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Opinion:
    """``decision`` is None where this machine cannot tell; ``evidence`` is what the opinion rests on."""

    decision: Decision | None
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)


def on_count(instruction_count: int) -> Opinion | None:
    """Return the opinion that the count alone gives: this module's jobs count as one instruction."""
    if instruction_count == 0:
        return Opinion(
            Decision.ACCEPT,
            "the provider reported an honest failure, for which nothing is owed and nothing is punished",
        )
    if instruction_count != 1:
        return Opinion(
            Decision.REJECT, f"the result counts {instruction_count} instructions, a job counts as 1"
        )
    return None


def on_files(examined: Examined) -> Opinion | None:
    """Return the opinion that the files give before anything is computed, None if they are in order."""
    if examined.problems:
        told = "; ".join(examined.problems[:3])
        return Opinion(Decision.REJECT, f"the result is not what the job promises: {told}")
    return None


def needs_another_look(executed: Executed) -> bool:
    """Whether other bytes alone speak against a result, so that they have to be made twice."""
    comparison = executed.comparison
    return comparison.proves is Proof.WRONG and "weights" not in comparison.class_differences


def on_execution(executed: Executed, again: Executed | None) -> Opinion:
    """Return the opinion that a comparison with an execution of ours gives.

    ``again`` is a second execution, made because the first one gave other bytes.
    """
    comparison = executed.comparison
    if again is not None and again.cid != executed.cid:
        return Opinion(
            None,
            "two executions on this machine differ from each other, so it can judge nobody: see to its GPU",
        )
    parts_at = comparison.parts_at or "its files"
    match comparison.proves:
        case Proof.RIGHT if comparison.relation is Relation.IDENTICAL:
            return Opinion(Decision.ACCEPT, f"computed again, the job gives the same CID {executed.cid}")
        case Proof.RIGHT:
            return Opinion(Decision.ACCEPT, "computed again, the job gives the same files, but for a name")
        case Proof.WRONG if needs_another_look(executed):
            return Opinion(
                Decision.REJECT,
                f"computed twice in the same class, the job gives {executed.cid}; they part at {parts_at}",
            )
        case Proof.WRONG:
            named = ", ".join(comparison.weights_differing[:_SHOWN])
            return Opinion(
                Decision.REJECT, f"the result was made with other models than its module's: {named}"
            )
        case _:
            parts = ", ".join(sorted(comparison.class_differences))
            return Opinion(
                None,
                "the result is of another determinism class, whose bytes this machine cannot make; they "
                f"differ in {parts}",
            )
