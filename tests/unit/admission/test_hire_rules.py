"""A hire is agreed to on exactly the published terms, with the money in escrow, while there is time."""

from dataclasses import replace

import pytest

from node.admission.hire_rules import HireFacts, hire_verdict
from node.job.deal import ZERO_ADDRESS
from tests.fakes.jobs import MEDIATOR, POSTED_AT, PROVIDER, REQUESTER, TOKEN, make_deal
from tests.unit.admission.test_rules import GOOD, LIMITS

DEAL = make_deal()
HIRE = HireFacts(
    deal=DEAL,
    expected=DEAL,
    mediators=(MEDIATOR,),
    escrow_wei=2 * TOKEN,
    chain_time=POSTED_AT + 5,
    closes_at=POSTED_AT + 600,
    takes_hires=True,
)


def members(**changes):
    return replace(DEAL, members=replace(DEAL.members, **changes))


def timeouts(name, **changes):
    changed = replace(getattr(DEAL.timeouts, name), **changes)
    return replace(DEAL, timeouts=replace(DEAL.timeouts, **{name: changed}))


def pricing(**changes):
    return replace(DEAL, pricing=replace(DEAL.pricing, **changes))


def test_a_hire_on_our_own_terms_is_taken():
    assert hire_verdict(HIRE, GOOD, LIMITS) is None


def test_what_a_requester_proves_by_its_escrow_is_not_asked_again():
    facts = replace(GOOD, chain_time=POSTED_AT + 10**6, sender=None, requester_tokens_wei=0)
    assert hire_verdict(HIRE, facts, LIMITS) is None


@pytest.mark.parametrize(
    ("deal", "told"),
    [
        (
            pricing(instruction_price_wei=TOKEN - 1),
            "0.999999999999999999 tokens, published is 1 tokens",
        ),
        (pricing(instruction_price_wei=2 * TOKEN), "its price is"),
        (pricing(payment_collateral_wei=2 * TOKEN), "payment collateral"),
        (pricing(results_collateral_multiple=2), "results collateral multiple is 2, published is 1"),
        (pricing(mediation_fee_wei=0), "mediation fee"),
        (timeouts("agree", timeout_s=601), "agree timeout is 601 s, published is 600 s"),
        (timeouts("submit_results", timeout_s=60), "submitResults timeout"),
        (timeouts("judge_results", timeout_s=60), "judgeResults timeout"),
        (timeouts("mediate_results", timeout_s=60), "mediateResults timeout"),
        (timeouts("submit_results", collateral_wei=0), "submitResults collateral"),
        (timeouts("judge_results", collateral_wei=0), "judgeResults collateral"),
        (members(solver=MEDIATOR), "solver"),
        (members(mediators=()), "no mediator"),
        (members(mediators=(MEDIATOR, MEDIATOR)), "twice"),
        (members(mediators=("0x" + "9" * 40,)), "market.mediators does not name"),
        (members(mediators=(REQUESTER,)), "a party of the deal"),
        (members(mediators=(PROVIDER,)), "a party of the deal"),
        (members(mediators=(ZERO_ADDRESS,)), "nobody"),
    ],
)
def test_other_terms_are_refused_for_good_with_what_differs(deal, told):
    refusal = hire_verdict(replace(HIRE, deal=deal), GOOD, LIMITS)
    assert told in refusal.reason
    assert refusal.final


def test_a_party_on_our_list_of_mediators_still_may_not_judge():
    hire = replace(HIRE, deal=members(mediators=(REQUESTER,)), mediators=(MEDIATOR, REQUESTER))
    assert "a party" in hire_verdict(hire, GOOD, LIMITS).reason


def test_amounts_that_could_overflow_are_refused_even_if_they_were_published():
    huge = pricing(instruction_price_wei=2**127, results_collateral_multiple=2)
    assert "beyond" in hire_verdict(replace(HIRE, deal=huge, expected=huge), GOOD, LIMITS).reason


@pytest.mark.parametrize(
    ("change", "told", "final"),
    [
        ({"takes_hires": False}, "market.matching", True),
        ({"withdrawn": "by the operator"}, "withdrawn: by the operator", True),
        ({"chain_time": POSTED_AT + 601}, "ended 1 s ago", True),
        ({"escrow_wei": 2 * TOKEN - 1}, "in escrow", False),
    ],
)
def test_a_hire_that_cannot_be_taken_says_why(change, told, final):
    refusal = hire_verdict(replace(HIRE, **change), GOOD, LIMITS)
    assert told in refusal.reason
    assert refusal.final is final


def test_what_holds_for_every_deal_holds_for_a_hire():
    assert "fund the wallet" in hire_verdict(HIRE, replace(GOOD, our_tokens_wei=0), LIMITS).reason
    assert not hire_verdict(HIRE, replace(GOOD, open_deals=4), LIMITS).final


def test_a_draining_node_declines_a_hire_at_once():
    refusal = hire_verdict(HIRE, replace(GOOD, paused=True), LIMITS)
    assert refusal.reason == "the node is draining"
    assert refusal.final


def test_bids_that_were_not_answered_do_not_hold_up_a_hire_with_its_money_in_escrow():
    limit = LIMITS.max_open_proposals_per_requester
    assert hire_verdict(HIRE, replace(GOOD, open_proposals_of_requester=limit), LIMITS) is None
