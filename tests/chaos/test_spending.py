"""What may be mined for a deal, and what never: the judge of I2 by itself."""

import pytest

from tests.chaos.harness.findings import Findings
from tests.chaos.harness.spending import Sent, nothing_twice, openings

US, THEM = "0x" + "aa" * 20, "0x" + "bb" * 20


def sent(call: str, block: int, *, ok: bool = True, sender: str = US) -> Sent:
    return Sent(sender, block, f"0x{block}", block, 0, ok, call, "j1-00000001")


def agreed(block: int) -> list[Sent]:
    return [sent("agree", 1), sent("agree", block, sender=THEM)]


def judged(*ours: Sent, at: int = 5, reorganised: bool) -> Findings:
    found = Findings()
    places = openings([*agreed(at), *ours], US) if reorganised else None
    nothing_twice([*agreed(at)[:1], *ours], found, places)
    return found


RESULTS = {
    "one that succeeded": ([sent("addResult", 6)], True, True),
    "one before its deal and one that succeeded": (
        [sent("addResult", 4, ok=False), sent("addResult", 6)],
        True,
        False,
    ),
    "one before its deal and no other": ([sent("addResult", 4, ok=False)], False, False),
    "two that succeeded": ([sent("addResult", 6), sent("addResult", 7)], False, False),
    "one that reverted after it": ([sent("addResult", 6), sent("addResult", 7, ok=False)], True, False),
    "two that reverted after it": (
        [sent("addResult", 6), sent("addResult", 7, ok=False), sent("addResult", 8, ok=False)],
        False,
        False,
    ),
    "one that reverted after its deal, and one that succeeded": (
        [sent("addResult", 6, ok=False), sent("addResult", 7)],
        False,
        False,
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_mined_once_and_a_reorganisation_may_put_a_reverted_one_before_its_deal(name: str):
    mined, on_a_reorganised_chain, otherwise = RESULTS[name]
    found = judged(*mined, reorganised=True)
    assert (not found.broken) == on_a_reorganised_chain
    assert found.early["addResult"] == sum(item.block == 4 for item in mined)
    assert found.again["addResult"] == (name == "one that reverted after it")
    assert (not judged(*mined, reorganised=False).broken) == (otherwise or name.endswith("no other"))


@pytest.mark.parametrize("call", ["timeoutAgree", "timeoutJudgeResult"])
def test_a_timeout_succeeds_once_after_at_most_two_that_reverted(call: str):
    reverted = [sent(call, block, ok=False) for block in (7, 8)]
    assert not judged(*reverted, sent(call, 9), reorganised=False).broken
    assert judged(*reverted, sent(call, 9), sent(call, 10, ok=False), reorganised=False).broken
    assert judged(sent(call, 9), sent(call, 10), reorganised=False).broken


HIRES = {
    "agreed to once": ([sent("agree", 3, sender=THEM), sent("agree", 5)], 0, True),
    "agreed to too early, and again": (
        [sent("agree", 3, ok=False), sent("agree", 4, sender=THEM), sent("agree", 5)],
        1,
        True,
    ),
    "agreed to too early": ([sent("agree", 3, ok=False), sent("agree", 4, sender=THEM)], 1, False),
    "refused, and agreed to": (
        [sent("agree", 3, sender=THEM), sent("agree", 4, ok=False), sent("agree", 5)],
        0,
        False,
    ),
}


@pytest.mark.parametrize("name", HIRES)
def test_a_hire_is_agreed_to_once_after_those_that_a_reorganisation_put_before_it(name: str):
    everything, early, right = HIRES[name]
    found = Findings()
    nothing_twice([item for item in everything if item.sender == US], found, openings(everything, US))
    assert found.early["agree"] == early
    assert (not found.broken) == right


def test_a_proposal_that_reverted_before_the_job_creator_agreed_was_not_put_there_by_a_reorganisation():
    everything = [sent("agree", 3, ok=False), sent("agree", 4), sent("agree", 5, sender=THEM)]
    found = Findings()
    nothing_twice(everything[:2], found, openings(everything, US))
    assert found.broken


def test_a_second_agreement_breaks_the_rule_also_where_it_reverted():
    assert judged(sent("agree", 8, ok=False), sent("addResult", 9), reorganised=True).broken
