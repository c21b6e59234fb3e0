"""What a comparison proves, and what it does not: only that moves anybody's money."""

import pytest

from node.job.case import Decision
from node.job.comparison import Comparison, Relation
from node.mediation.opinion import needs_another_look, on_count, on_execution, on_files
from node.verification.integrity import Examined
from node.verification.report import Executed

OTHERS = {"device": ("another card", "a card")}


def executed(relation, cid="bafy-ours", differing=None, weights_differing=(), **parts):
    if differing is None:
        differing = () if relation is Relation.IDENTICAL else ("stills", "manifest.json")
    return Executed(cid, "class", Comparison(relation, differing, parts, weights_differing))


def decided(first, again=None):
    return on_execution(first, again).decision


def test_equal_bytes_are_accepted_without_a_second_look():
    same = executed(Relation.IDENTICAL)
    assert decided(same) is Decision.ACCEPT
    assert not needs_another_look(same)


def test_other_bytes_in_the_same_class_are_rejected_once_two_executions_agree():
    different = executed(Relation.DIFFERENT)
    assert needs_another_look(different)
    opinion = on_execution(different, executed(Relation.DIFFERENT))
    assert opinion.decision is Decision.REJECT
    assert "part at stills" in opinion.reason


def test_a_machine_whose_own_executions_differ_rejects_nobody():
    assert decided(executed(Relation.DIFFERENT), executed(Relation.DIFFERENT, "bafy-else")) is None


def test_another_class_is_never_ruled_on():
    opinion = on_execution(executed(Relation.OTHER_CLASS, **OTHERS), None)
    assert opinion.decision is None
    assert "device" in opinion.reason


def test_other_weights_are_rejected_with_their_names_and_nothing_is_computed_for_it():
    other = executed(Relation.OTHER_MODEL, weights_differing=("still/unet/a",), weights=("a", "b"))
    assert not needs_another_look(other)
    opinion = on_execution(other, None)
    assert opinion.decision is Decision.REJECT
    assert "still/unet/a" in opinion.reason


@pytest.mark.parametrize(
    ("parts", "weights"),
    [
        ({"weights": ("a", "b"), **OTHERS}, ("still/unet/a",)),
        ({"weights": ("a", "b")}, ("clip/vae/a",)),
        ({"precision": ("bfloat16", "float16")}, ()),
        ({"weights": ("a", "b"), "pipeline": ("2", "3")}, ("still/unet/a",)),
    ],
)
def test_what_honest_providers_may_differ_in_is_declined(parts, weights):
    assert decided(executed(Relation.OTHER_MODEL, weights_differing=weights, **parts)) is None


def test_a_profile_of_another_name_is_judged_by_its_bytes():
    named = {"profile": ("my own", "sdv-1.1")}
    honest = executed(Relation.OTHER_MODEL, differing=("manifest.json",), **named)
    assert decided(honest) is Decision.ACCEPT
    cheating = executed(Relation.OTHER_MODEL, **named)
    assert needs_another_look(cheating)
    assert decided(cheating, cheating) is Decision.REJECT


@pytest.mark.parametrize(
    ("count", "expected"), [(0, Decision.ACCEPT), (1, None), (2, Decision.REJECT), (2**255, Decision.REJECT)]
)
def test_the_count_alone_decides_where_it_is_not_that_of_a_job(count, expected):
    opinion = on_count(count)
    assert (opinion and opinion.decision) is expected


def test_damaged_files_are_rejected_with_the_first_problems():
    assert on_files(Examined(None, None, {}, ())) is None
    opinion = on_files(Examined(None, None, {}, ("a is missing", "b", "c", "d")))
    assert opinion.decision is Decision.REJECT
    assert opinion.reason.endswith("a is missing; b; c")
