"""Which deals may be agreed to: each term that is wrong has its own reason."""

from dataclasses import replace

import pytest

from node.job.deal import (
    ZERO_ADDRESS,
    Agreement,
    AgreementState,
    DealPricing,
    DealTimeout,
    MarketPlace,
    deal_id_for,
)
from node.requester.proposals import Limits, Proposal, Request, cheapest, names_job, objections
from node.types import Address, DealId, Wei
from tests.fakes.provider import propose_terms
from tests.fakes.requester_market import MEDIATOR, PROVIDER, REQUESTER, TOKEN, FakeMarket

MARKET = FakeMarket()
NOW = 1_700_000_000
OPEN = Agreement(AgreementState.DEAL_NEGOTIATING, resource_provider_agreed_at=NOW, deal_created_at=NOW)
REQUEST = Request(MARKET.place, 17, REQUESTER)
LIMITS = Limits(Wei(5 * TOKEN))
STRANGER = Address("0x" + "99" * 20)


def usual(**terms):
    return propose_terms(MARKET, 17, REQUESTER, PROVIDER, mediators=(MEDIATOR,), **terms)


def changed(deal, *, members=None, timeouts=None, pricing=None):
    """Return the deal with other terms and the id that follows from them."""
    deal = replace(
        deal,
        members=replace(deal.members, **members or {}),
        timeouts=replace(deal.timeouts, **timeouts or {}),
        pricing=replace(deal.pricing, **pricing or {}),
    )
    deal_id = deal_id_for(MARKET.place, 17, deal.members, deal.timeouts, deal.pricing, "00000001")
    return replace(deal, deal_id=deal_id)


def why_not(deal, agreement=OPEN, limits=LIMITS, now=NOW + 1, request=REQUEST) -> list[str]:
    return objections(deal, agreement, request, limits, now)


@pytest.mark.parametrize("salt", ["00000001", "00000016"])
def test_the_usual_terms_are_taken_with_any_of_the_sixteen_salts(salt):
    assert why_not(usual(salt=salt)) == []


def test_an_id_that_does_not_follow_from_job_and_terms_is_forged():
    deal = usual()
    forged = [
        usual(salt="00000017"),
        replace(deal, deal_id=DealId("j17-abc")),
        replace(deal, pricing=replace(deal.pricing, instruction_price_wei=Wei(1))),
    ]
    for deal in forged:
        assert [reason for reason in why_not(deal) if "its id does not follow" in reason]
    elsewhere = replace(REQUEST, market=MarketPlace(1, MARKET.place.controller, MARKET.place.job_manager))
    assert why_not(usual(), request=elsewhere) != []
    assert why_not(usual(), request=replace(REQUEST, job_number=18)) != []


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"job_creator": STRANGER}, "names another job creator"),
        ({"solver": STRANGER}, "solver is not the job manager"),
        ({"resource_provider": REQUESTER}, "nobody, or we ourselves"),
        ({"resource_provider": ZERO_ADDRESS}, "nobody, or we ourselves"),
        ({"mediators": ()}, "names no mediator"),
        ({"mediators": (MEDIATOR, MEDIATOR)}, "names a mediator twice"),
        ({"mediators": (MEDIATOR, PROVIDER)}, "a party of the deal"),
        ({"mediators": (REQUESTER,)}, "a party of the deal"),
        ({"mediators": (ZERO_ADDRESS,)}, "a party of the deal"),
    ],
)
def test_members_must_be_ours_and_neutral(members, reason):
    assert any(reason in found for found in why_not(changed(usual(), members=members)))


def test_a_list_of_mediators_is_kept_to():
    listed = replace(LIMITS, mediators=frozenset({MEDIATOR}))
    assert why_not(usual(), limits=listed) == []
    two = changed(usual(), members={"mediators": (MEDIATOR, STRANGER)})
    assert why_not(two) == []
    assert why_not(two, limits=listed) == ["it names a mediator that market.mediators does not name"]


@pytest.mark.parametrize("name", ["agree", "submit_results", "judge_results", "mediate_results"])
def test_each_timeout_has_bounds(name):
    deal = usual()
    bounds = getattr(LIMITS, name)
    timeout = getattr(deal.timeouts, name)
    for seconds, expected in (
        (bounds.low_s - 1, 1),
        (bounds.low_s, 0),
        (bounds.high_s, 0),
        (bounds.high_s + 1, 1),
        (2**256 - 1, 1),
    ):
        other = changed(deal, timeouts={name: DealTimeout(seconds, timeout.collateral_wei)})
        assert len(why_not(other)) == expected, seconds


def test_collaterals_of_the_two_sides_are_equal_and_the_other_two_nothing():
    deal = usual()
    for name, reason in (
        ("agree", "are not 0"),
        ("mediate_results", "are not 0"),
        ("submit_results", "differ between"),
        ("judge_results", "differ between"),
    ):
        timeout = getattr(deal.timeouts, name)
        other = changed(deal, timeouts={name: replace(timeout, collateral_wei=Wei(2 * TOKEN))})
        assert [reason in found for found in why_not(other)] == [True]
    big = Wei(11 * TOKEN)
    both = {
        name: replace(getattr(deal.timeouts, name), collateral_wei=big)
        for name in ("submit_results", "judge_results")
    }
    assert ["its collateral of" in found for found in why_not(changed(deal, timeouts=both))] == [True]


@pytest.mark.parametrize(
    ("pricing", "reason"),
    [
        (DealPricing(Wei(5 * TOKEN + 1), Wei(5 * TOKEN), 1, Wei(0)), "its price of"),
        (DealPricing(Wei(2 * TOKEN), Wei(TOKEN), 1, Wei(0)), "does not cover its price"),
        (DealPricing(Wei(TOKEN), Wei(5 * TOKEN + 1), 1, Wei(0)), "its payment collateral of"),
        (DealPricing(Wei(TOKEN), Wei(TOKEN), 1, Wei(5 * TOKEN + 1)), "its mediation fee of"),
        (DealPricing(Wei(TOKEN), Wei(TOKEN), 2**128, Wei(0)), "results collateral"),
        (DealPricing(Wei(2**255), Wei(2**256 - 1), 2**256 - 1, Wei(2**256 - 1)), "results collateral"),
    ],
)
def test_prices_stay_within_our_limit(pricing, reason):
    deal = usual()
    fields = {name: getattr(pricing, name) for name in DealPricing.__slots__}
    assert any(reason in found for found in why_not(changed(deal, pricing=fields)))


def test_the_highest_allowed_price_is_allowed():
    assert why_not(usual(price_wei=5 * TOKEN)) == []


@pytest.mark.parametrize(
    ("agreement", "now", "reason"),
    [
        (replace(OPEN, state=AgreementState.TIMEOUT_AGREE), NOW + 1, "no longer open (timeout_agree)"),
        (replace(OPEN, state=AgreementState.DEAL_AGREED), NOW + 1, "no longer open (deal_agreed)"),
        (replace(OPEN, resource_provider_agreed_at=0), NOW + 1, "its provider has not agreed"),
        (replace(OPEN, job_creator_agreed_at=NOW), NOW + 1, "already agreed from our side"),
        (OPEN, NOW + 600, "window to agree closed 0 s ago"),
    ],
)
def test_only_an_open_proposal_within_its_window_is_taken(agreement, now, reason):
    assert [reason in found for found in why_not(usual(), agreement, now=now)] == [True]


def test_the_cheapest_wins_and_among_equals_the_earliest():
    deals = [usual(price_wei=2 * TOKEN), usual(), usual(salt="00000002")]
    late, early = Proposal(deals[1], (9, 1)), Proposal(deals[2], (9, 0))
    assert cheapest([Proposal(deals[0], (1, 0)), late, early]) is early
    assert cheapest([]) is None


def test_only_ids_of_our_job_are_read():
    assert names_job(DealId("j17-abc"), 17)
    assert not names_job(DealId("j171-abc"), 17)
    assert not names_job(DealId("x"), 17)
