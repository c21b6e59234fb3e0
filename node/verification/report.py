"""What is said of a result that was verified, for people and for programs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from node.job.comparison import Comparison, Proof, Relation
from node.types import Cid, DealId
from node.verification.integrity import Examined

_UNDECIDED = 75
_WRONG = 1


class Verdict(StrEnum):
    """The outcome of a verification; without an execution a sound result is ``INTACT``."""

    INTACT = "intact"
    IDENTICAL = "identical"
    DIFFERENT = "different"
    OTHER_MODEL = "other model"
    OTHER_CLASS = "other class"
    DAMAGED = "damaged"
    FAILED = "failed"


_OF_RELATION = {
    Relation.IDENTICAL: Verdict.IDENTICAL,
    Relation.DIFFERENT: Verdict.DIFFERENT,
    Relation.OTHER_MODEL: Verdict.OTHER_MODEL,
    Relation.OTHER_CLASS: Verdict.OTHER_CLASS,
}
_BY_PROOF = {Proof.RIGHT: 0, Proof.WRONG: _WRONG, None: _UNDECIDED}
_EXIT_CODES = {Verdict.INTACT: 0, Verdict.IDENTICAL: 0, Verdict.OTHER_CLASS: _UNDECIDED}


@dataclass(frozen=True, slots=True)
class Executed:
    """The same job computed again: its CID and class, and how it compares."""

    cid: Cid
    determinism_class: str
    comparison: Comparison
    pictures: Sequence[dict[str, Any]] = ()
    """The measures of files that differ, from ``measuring``; only where bytes prove nothing."""


@dataclass(frozen=True, slots=True)
class Report:
    """One verification. ``problems`` come first: what is damaged is no result, whatever it shows."""

    cid: Cid | None
    """None for a directory that holds what cannot be published."""
    directory: Path
    examined: Examined
    deal_id: DealId | None = None
    executed: Executed | None = None
    notes: Sequence[str] = field(default=())

    @property
    def verdict(self) -> Verdict:
        """The outcome."""
        if self.examined.failed:
            return Verdict.FAILED
        if self.examined.problems:
            return Verdict.DAMAGED
        if self.executed is None:
            return Verdict.INTACT
        return _OF_RELATION[self.executed.comparison.relation]

    @property
    def exit_code(self) -> int:
        """0 if nothing is wrong, 1 if the result is, 75 if another machine has to tell."""
        verdict = self.verdict
        if verdict is Verdict.OTHER_MODEL and self.executed is not None:
            return _BY_PROOF[self.executed.comparison.proves]
        return _EXIT_CODES.get(verdict, _WRONG)

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs; without an execution ``executed`` is null."""
        manifest, executed = self.examined.manifest, self.executed
        return {
            "verdict": self.verdict.value,
            "deal_id": self.deal_id,
            "cid": self.cid,
            "directory": str(self.directory),
            "module": None if manifest is None else manifest.module,
            "profile": None if manifest is None else manifest.profile,
            "class": None if manifest is None else manifest.determinism_class,
            "problems": list(self.examined.problems),
            "notes": list(self.notes),
            "executed": executed
            and {
                "cid": executed.cid,
                "class": executed.determinism_class,
                **executed.comparison.to_json(),
                "pictures": list(executed.pictures),
            },
        }
