"""What two executions of one job have in common, and where they part. Pure: both were examined before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from node.job.manifest import MANIFEST, Manifest
from node.job.spec import JobSpec
from node.job.stages import all_stages

_MODEL_PARTS = frozenset({"profile", "sizes", "weights", "precision", "vae_precision"})
"""Parts of a class that the job's profile decides and no machine."""
_TWO_LAYOUTS = "clip/vae/"
"""Weights that were published in two layouts, which differ: two classes, and neither is wrong."""


class Relation(StrEnum):
    """How another execution of the same job relates to a result; what that proves is ``Comparison.proves``.

    ``OTHER_MODEL`` tells that it was made with another profile, or other networks, than the execution.
    """

    IDENTICAL = "identical"
    DIFFERENT = "different"
    OTHER_MODEL = "other model"
    OTHER_CLASS = "other class"


class Proof(StrEnum):
    """What a comparison shows of a result."""

    RIGHT = "right"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Execution:
    """One result: its CID, its manifest, and the SHA-256 of every file by its path."""

    cid: str
    manifest: Manifest
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """``differing`` are stages and files in the order of computing, so that the first is where they part.

    ``class_differences`` has, for each part of the determinism class that differs, the result's value and
    that of the execution, None where a side has no such part; ``weights_differing`` are files of networks.
    """

    relation: Relation
    differing: tuple[str, ...] = ()
    class_differences: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    weights_differing: tuple[str, ...] = ()

    @property
    def proves(self) -> Proof | None:
        """Return what is proven, None if a machine of the result's class has to tell.

        Other bytes prove a result wrong only where everything that decides bytes is the same, which the name
        of a profile does not. Other weights prove it too, but for those that were published in two layouts.
        """
        if self.relation is Relation.IDENTICAL:
            return Proof.RIGHT
        parts = self.class_differences.keys()
        if parts <= {"profile"}:
            return Proof.RIGHT if parts and self.differing == (MANIFEST,) else Proof.WRONG
        if parts <= {"profile", "weights"} and not all(
            path.startswith(_TWO_LAYOUTS) for path in self.weights_differing
        ):
            return Proof.WRONG
        return None

    @property
    def parts_at(self) -> str | None:
        """Return the stage or file at which the two part, None if nothing differs."""
        return self.differing[0] if self.differing else None

    def to_json(self) -> dict[str, Any]:
        """Return it for programs; ``class_differences`` is ``{part: {"result": ..., "execution": ...}}``."""
        return {
            "relation": self.relation.value,
            "parts_at": self.parts_at,
            "proves": None if self.proves is None else self.proves.value,
            "differing": list(self.differing),
            "weights_differing": list(self.weights_differing),
            "class_differences": {
                part: {"result": result, "execution": execution}
                for part, (result, execution) in self.class_differences.items()
            },
        }


def compare(spec: JobSpec, result: Execution, execution: Execution) -> Comparison:
    """Compare a result with an execution of the same job."""
    differing = _differing(spec, result, execution)
    if result.cid == execution.cid:
        return Comparison(Relation.IDENTICAL)
    parts = _class_differences(result.manifest, execution.manifest)
    if result.manifest.determinism_class == execution.manifest.determinism_class:
        relation = Relation.DIFFERENT
    elif parts.keys() & _MODEL_PARTS:
        relation = Relation.OTHER_MODEL
    else:
        relation = Relation.OTHER_CLASS
    theirs, ours = result.manifest.weights, execution.manifest.weights
    weights = sorted(path for path in {*theirs, *ours} if theirs.get(path) != ours.get(path))
    return Comparison(relation, differing, parts, tuple(weights))


def _differing(spec: JobSpec, result: Execution, execution: Execution) -> tuple[str, ...]:
    ours, theirs = execution.manifest.stages, result.manifest.stages
    order = list(all_stages(spec))
    order += sorted({*ours, *theirs} - set(order))
    found = []
    for stage in order:
        # A file's hash is that of its bytes: what the manifest says of it may be wrong.
        told = stage not in execution.files and stage not in result.files
        left, right = (theirs, ours) if told else (result.files, execution.files)
        if left.get(stage) != right.get(stage):
            found.append(stage)
    files = sorted({*result.files, *execution.files} - set(order))
    # The manifest comes last: it differs whenever anything else does.
    files.sort(key=lambda path: path == MANIFEST)
    return *found, *(path for path in files if result.files.get(path) != execution.files.get(path))


def _class_differences(result: Manifest, execution: Manifest) -> dict[str, tuple[str | None, str | None]]:
    theirs, ours = result.class_parts, execution.class_parts
    return {
        part: (theirs.get(part), ours.get(part))
        for part in sorted({*theirs, *ours})
        if theirs.get(part) != ours.get(part)
    }
