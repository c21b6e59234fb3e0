"""A job's history as spans: each phase once, with ids that each life of the node agrees on, and no secret."""

import json
from dataclasses import dataclass, field

import pytest

from node.job.phase import TERMINAL, Phase
from node.observe.job_spans import NAMES, Identity, spans_of, stage_span

IDENTITY = Identity("31337:0xc0", "0xa1", "j17")
KNOWN = {"sdv.job_id": "j17", "sdv.deal_id": "j17-abc"}


@dataclass(frozen=True)
class Step:
    at: float
    event: str
    phase: str
    body: str = field(default="{}")


COPIES = {
    "cid": "bafy",
    "copies": [
        {"place": "own store", "stored_at": 31.0, "read_at": None, "problem": None},
        {"place": "gateway", "stored_at": None, "read_at": 34.0, "problem": None},
        {"place": "kubo", "stored_at": 32.0, "read_at": 33.0, "problem": None},
        {"place": "late", "stored_at": 99.0, "read_at": None, "problem": None},
    ],
}
PAID = [
    Step(1, "OfferSeen", "SEEN", '{"prompt": "a secret fox"}'),
    Step(2, "Admitted", "PROPOSING"),
    Step(3, "ProposalMined", "PROPOSED"),
    Step(5, "DealMoved", "AGREED"),
    Step(8, "RenderStarted", "RENDERING"),
    Step(30, "Rendered", "PUBLISHING"),
    Step(35, "Published", "SUBMITTING", json.dumps(COPIES)),
    Step(40, "DealMoved", "SUBMITTED"),
    Step(60, "DealMoved", "PAID"),
]


def told(steps, after=0.0):
    return [(span.name, span.began, span.ended) for span in spans_of(IDENTITY, steps, KNOWN, after=after)]


def test_a_paid_job_is_a_span_with_one_for_each_phase_and_copy():
    assert told(PAID) == [
        ("admission", 1, 2),
        ("propose", 2, 3),
        ("wait for agreement", 3, 5),
        ("wait for worker", 5, 8),
        ("render", 8, 30),
        ("store", 30, 31.0),
        ("read back", 30, 34.0),
        ("store", 30, 32.0),
        ("read back", 32.0, 33.0),
        ("publish", 30, 35),
        ("submit", 35, 40),
        ("judge", 40, 60),
        ("job", 1, 60),
    ]


def test_spans_make_one_tree_under_the_job():
    spans = spans_of(IDENTITY, PAID, KNOWN, after=0)
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans)
    assert {span.trace_id for span in spans} == {IDENTITY.trace_id}
    (root,) = [span for span in spans if span.parent_id is None]
    assert root.name == "job"
    for span in spans:
        parent = by_id.get(span.parent_id, span)
        assert parent.began <= span.began <= span.ended <= parent.ended
        expected = {"store": "publish", "read back": "publish"}.get(span.name, "job")
        assert parent.name == expected


def test_told_bit_by_bit_over_two_lives_it_is_the_same_trace_as_told_at_once():
    bit_by_bit = []
    after = 0.0
    for number in range(1, len(PAID) + 1):
        bit_by_bit += spans_of(IDENTITY, PAID[:number], KNOWN, after=after)
        after = PAID[number - 1].at
    assert bit_by_bit == spans_of(IDENTITY, PAID, KNOWN, after=0)


def test_steps_that_stay_in_a_phase_do_not_cut_it():
    steps = [*PAID[:7], Step(36, "BlocksDropped", "SUBMITTING"), Step(40, "DealMoved", "SUBMITTED")]
    assert told(steps, after=35) == [("submit", 35, 40)]


def test_a_phase_that_comes_again_is_a_span_of_its_own():
    steps = [*PAID[:8], Step(41, "BlocksDropped", "SUBMITTING"), Step(45, "DealMoved", "SUBMITTED")]
    spans = [span for span in spans_of(IDENTITY, steps, KNOWN, after=0) if span.name == "submit"]
    assert [(span.began, span.ended) for span in spans] == [(35, 40), (41, 45)]
    assert len({span.span_id for span in spans}) == 2


def test_a_failure_says_why_in_a_bounded_text():
    steps = [
        *PAID[:5],
        Step(20, "CannotDeliver", "FAILING", json.dumps({"reason": "out of memory " * 100})),
        Step(25, "DealMoved", "FAILED"),
    ]
    render, failing, job = spans_of(IDENTITY, steps, KNOWN, after=8)
    assert (render.name, failing.name, job.name) == ("render", "report failure", "job")
    assert render.failure.startswith("out of memory")
    assert len(render.failure) == 200
    assert job.failure == "FAILED"
    assert spans_of(IDENTITY, PAID, KNOWN, after=40)[-1].failure is None


def test_only_what_is_known_of_the_job_and_no_input_of_it_is_told():
    for span in spans_of(IDENTITY, PAID, KNOWN, after=0):
        assert "fox" not in json.dumps(span.attributes)
        assert KNOWN.items() <= span.attributes.items()


def test_a_stage_belongs_to_the_last_rendering_before_its_end():
    again = [*PAID[:5], Step(9, "BlocksDropped", "AGREED"), Step(12, "RenderStarted", "RENDERING")]
    render = {span.began: span for span in spans_of(IDENTITY, [*again, PAID[5]], KNOWN, after=0)}
    for began, ended, parent in ((8.1, 8.9, 8), (12.5, 20, 12)):
        span = stage_span(IDENTITY, again, KNOWN, stage="still", began=began, ended=ended)
        assert span.parent_id == render[parent].span_id
        assert span.trace_id == IDENTITY.trace_id
    early = stage_span(IDENTITY, PAID[:4], KNOWN, stage="still", began=6, ended=7)
    assert early.parent_id == IDENTITY.span_id()


@pytest.mark.parametrize(
    "other",
    [
        Identity("1:0xc0", "0xa1", "j17"),
        Identity("31337:0xc0", "0xb2", "j17"),
        Identity("31337:0xc0", "0xa1", "h17"),
    ],
)
def test_another_market_account_or_job_is_another_trace(other):
    assert other.trace_id != IDENTITY.trace_id
    assert 0 < other.trace_id < 2**128
    assert 0 < other.span_id() < 2**64


def test_every_phase_that_can_end_has_a_name():
    assert NAMES.keys() == set(Phase) - TERMINAL
