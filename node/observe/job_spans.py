"""A job's life as spans: from its journalled history alone, so that a restart changes nothing about them.

Each phase that ended is a span below the job's own, each copy of the result one below its publishing. All ids
follow from the job's identity and from places in its history: two lives of a node tell of one trace. Pure.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from node.job.phase import TERMINAL, Phase

NAMES: Final = {
    Phase.SEEN: "admission",
    Phase.PROPOSING: "propose",
    Phase.PROPOSED: "wait for agreement",
    Phase.AGREEING: "agree",
    Phase.WITHDRAWING: "withdraw",
    Phase.AGREED: "wait for worker",
    Phase.RENDERING: "render",
    Phase.PUBLISHING: "publish",
    Phase.SUBMITTING: "submit",
    Phase.SUBMITTED: "judge",
    Phase.DISPUTED: "mediate",
    Phase.CLAIMING: "claim",
    Phase.FAILING: "report failure",
}
BAD_ENDS: Final = frozenset({Phase.FAILED, Phase.REJECTED, Phase.UNPAID})
MAX_TEXT: Final = 200

Attributes = dict[str, str | float | bool]


class Step(Protocol):
    """One row of a job's history, as the journal gives it."""

    @property
    def at(self) -> float:
        """When it was journalled, in seconds since the Unix epoch."""
        ...

    @property
    def event(self) -> str:
        """The event's name."""
        ...

    @property
    def phase(self) -> str:
        """The job's phase after it."""
        ...

    @property
    def body(self) -> str:
        """The event as JSON."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose job it is: ``market`` names chain and contract, ``provider`` our account."""

    market: str
    provider: str
    job_id: str

    @property
    def trace_id(self) -> int:
        """128 bits that every life of the job has in common."""
        return _bits(16, self.market, self.provider, self.job_id)

    def span_id(self, *place: str) -> int:
        """Return 64 bits for a place in the job's history; no place is the job itself."""
        return _bits(8, self.market, self.provider, self.job_id, *place)


@dataclass(frozen=True, slots=True)
class JobSpan:
    """One span; times in seconds since the Unix epoch. ``parent_id`` None: the job itself."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    began: float
    ended: float
    attributes: Attributes = field(default_factory=dict)
    failure: str | None = None


def spans_of(identity: Identity, steps: Sequence[Step], known: Attributes, *, after: float) -> list[JobSpan]:
    """Return the spans that ended later than ``after``, in the order of their ends.

    ``known`` is told of each of them. The job's own span is among them when the job has ended.
    """
    spans = []
    begun = _phases(steps)
    for (number, first), (_, following) in itertools.pairwise(begun):
        phase = Phase(first.phase)
        if following.at <= after or phase in TERMINAL:
            continue
        body = json.loads(following.body)
        span = JobSpan(
            NAMES[phase],
            identity.trace_id,
            identity.span_id("phase", str(number)),
            identity.span_id(),
            first.at,
            following.at,
            {**known, "sdv.phase": phase.value, "sdv.ended_by": following.event, **_result(body)},
            _failure(following, body),
        )
        spans += [*_copies(identity, span, body, known), span]
    if begun and (last := begun[-1][1]).at > after and Phase(last.phase) in TERMINAL:
        spans.append(
            JobSpan(
                "job",
                identity.trace_id,
                identity.span_id(),
                None,
                steps[0].at,
                last.at,
                {**known, "sdv.phase": last.phase},
                _failure(last, json.loads(last.body)),
            )
        )
    return spans


def stage_span(
    identity: Identity, steps: Sequence[Step], known: Attributes, *, stage: str, began: float, ended: float
) -> JobSpan:
    """Return the span of one stage of the pipeline, below the rendering that it belongs to."""
    renderings = [
        (number, step)
        for number, step in _phases(steps)
        if step.phase == Phase.RENDERING and step.at <= ended
    ]
    parent = identity.span_id("phase", str(renderings[-1][0])) if renderings else identity.span_id()
    return JobSpan(
        stage,
        identity.trace_id,
        identity.span_id("stage", stage, repr(began)),
        parent,
        began,
        ended,
        {**known, "sdv.stage": stage},
    )


def _phases(steps: Sequence[Step]) -> list[tuple[int, Step]]:
    """Return the steps with which the job came into another phase, with their places in the history."""
    return [
        (number, step)
        for number, step in enumerate(steps)
        if number == 0 or steps[number - 1].phase != step.phase
    ]


def _copies(
    identity: Identity, publishing: JobSpan, body: dict[str, Any], known: Attributes
) -> list[JobSpan]:
    spans = []
    for copy in body.get("copies") or ():
        place = str(copy["place"])[:MAX_TEXT]
        before = publishing.began
        for what, key in (("store", "stored_at"), ("read back", "read_at")):
            # A place that is only read stores nothing; a copy of an earlier attempt is not of this one.
            if copy.get(key) is None or not before <= copy[key] <= publishing.ended:
                continue
            spans.append(
                JobSpan(
                    what,
                    publishing.trace_id,
                    identity.span_id(what, place, str(publishing.span_id)),
                    publishing.span_id,
                    before,
                    copy[key],
                    {**known, "sdv.place": place},
                )
            )
            before = copy[key]
    return spans


def _result(body: dict[str, Any]) -> Attributes:
    cid = body.get("cid")
    return {"sdv.cid": str(cid)[:MAX_TEXT]} if cid else {}


def _failure(step: Step, body: dict[str, Any]) -> str | None:
    if step.phase not in BAD_ENDS and step.event != "CannotDeliver":
        return None
    return str(body.get("reason") or step.phase)[:MAX_TEXT]


def _bits(size: int, *words: str) -> int:
    # JSON keeps the words apart; zero is no id in OpenTelemetry.
    digest = hashlib.sha256(json.dumps(words).encode()).digest()
    return int.from_bytes(digest[:size]) or 1
