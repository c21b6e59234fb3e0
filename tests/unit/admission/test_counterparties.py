"""How far an account is trusted: each refusal names its number and its setting."""

from dataclasses import replace

import pytest

from node.admission import costs
from node.admission.counterparties import Standing, refusals, unpaid_by
from node.job.phase import Phase
from node.journal.ledger_rows import PaymentRecord
from tests.fakes.jobs import MEDIATOR, REQUESTER, TOKEN, make_config, make_deal, make_job
from tests.unit.admission.test_rules import GOOD

CAPS = {
    "max_unpaid_deals_per_requester": 3,
    "max_unpaid_per_requester": "10",
    "max_unpaid_deals_unknown": 2,
    "max_unpaid_unknown": "5",
    "max_bad_deals": 2,
    "max_gas_per_deal": "0.01",
    "max_collateral_per_deal": "4",
}
LIMITS = make_config(admission=CAPS).admission
NEW = Standing(REQUESTER, PaymentRecord(), 0, 0, TOKEN)
KNOWN = replace(NEW, record=PaymentRecord(deals=4, paid=4))


def test_an_account_nobody_knows_may_have_a_first_deal():
    assert refusals(NEW, LIMITS) == []


@pytest.mark.parametrize(
    ("standing", "rule", "final", "told"),
    [
        (replace(NEW, unpaid_deals=2), "unpaid_deals", False, "max_unpaid_deals_unknown is 2"),
        (replace(KNOWN, unpaid_deals=3), "unpaid_deals", False, "max_unpaid_deals_per_requester is 3"),
        (replace(NEW, unpaid_wei=5 * TOKEN), "unpaid_amount", False, "max_unpaid_unknown is 5"),
        (replace(KNOWN, unpaid_wei=9 * TOKEN + 1), "unpaid_amount", False, "max_unpaid_per_requester is 10"),
        (replace(NEW, price_wei=6 * TOKEN), "unpaid_amount", True, "adds 6"),
        (replace(NEW, record=PaymentRecord(deals=2, unpaid=2)), "paid_before", True, "2 of its 2 deals"),
        (
            replace(NEW, record=PaymentRecord(deals=9, paid=7, drained=1, unanswered=1)),
            "paid_before",
            True,
            "max_bad_deals is 2",
        ),
    ],
)
def test_each_cap_refuses_with_its_number_and_its_setting(standing, rule, final, told):
    (refusal,) = refusals(standing, LIMITS)
    assert (refusal.rule, refusal.final) == (rule, final)
    assert told in refusal.reason
    assert "admission." in refusal.reason


@pytest.mark.parametrize(
    "standing",
    [
        replace(NEW, unpaid_deals=1, unpaid_wei=4 * TOKEN),
        replace(KNOWN, unpaid_deals=2, unpaid_wei=9 * TOKEN),
        replace(KNOWN, record=PaymentRecord(deals=5, paid=4, unpaid=1)),
    ],
)
def test_caps_are_inclusive_and_one_bad_deal_is_forgiven(standing):
    assert refusals(standing, LIMITS) == []


def test_an_unknown_account_never_has_more_room_than_a_known_one():
    limits = make_config(
        admission=CAPS | {"max_unpaid_deals_unknown": 9, "max_unpaid_unknown": "90"}
    ).admission
    told = [
        refusal.reason for refusal in refusals(replace(NEW, unpaid_deals=3, unpaid_wei=10 * TOKEN), limits)
    ]
    assert "max_unpaid_deals_per_requester is 3" in told[0]
    assert "max_unpaid_per_requester is 10" in told[1]


def test_no_account_is_declined_for_its_record_where_that_is_switched_off():
    limits = make_config(admission=CAPS | {"max_bad_deals": 0}).admission
    assert refusals(replace(NEW, record=PaymentRecord(unpaid=50)), limits) == []


@pytest.mark.parametrize("spelling", [REQUESTER, "0x" + REQUESTER[2:].upper()])
def test_an_account_on_the_deny_list_gets_nothing_however_it_is_spelled(spelling):
    limits = make_config(admission=CAPS | {"deny": [spelling]}).admission
    (refusal,) = refusals(NEW, limits)
    assert refusal.final
    assert "admission.deny" in refusal.reason
    assert refusals(replace(NEW, requester=MEDIATOR), limits) == []


def test_what_is_promised_or_delivered_counts_until_it_is_paid():
    def of(phase, number):
        return make_job(phase, number=number, deal=make_deal(number, price_wei=2 * TOKEN))

    owed = [Phase.PROPOSING, Phase.PROPOSED, Phase.AGREED, Phase.RENDERING, Phase.SUBMITTED, Phase.DISPUTED]
    jobs = [of(phase, number) for number, phase in enumerate((*owed, Phase.FAILING), start=1)]
    jobs.append(make_job(Phase.SEEN, number=20))
    assert unpaid_by(REQUESTER, jobs) == (len(owed), 2 * TOKEN * len(owed))
    assert unpaid_by(MEDIATOR, jobs) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "rule", "final", "told"),
    [
        ({"gas_price_wei": 10 * 10**9}, "gas_cost", False, "admission.max_gas_per_deal is 0.01"),
        ({"results_collateral_wei": 4 * TOKEN + 1}, "collateral", True, "max_collateral_per_deal is 4"),
        ({"timeout_collateral_wei": 5 * TOKEN}, "collateral", True, "would lock 5 tokens"),
    ],
)
def test_a_deal_may_cost_so_much_and_no_more(changes, rule, final, told):
    (refusal,) = costs.refusals(replace(GOOD, **changes), LIMITS)
    assert (refusal.rule, refusal.final) == (rule, final)
    assert told in refusal.reason


def test_a_cap_of_zero_on_gas_is_no_cap():
    limits = make_config(admission=CAPS | {"max_gas_per_deal": "0"}).admission
    assert costs.refusals(replace(GOOD, gas_price_wei=10**15), limits) == []
    assert costs.refusals(GOOD, LIMITS) == []


@pytest.mark.parametrize(
    ("usual", "told"),
    [
        ({}, []),
        ({"collateral_wei": 5 * TOKEN}, ["admission.max_collateral_per_deal is 4"]),
        ({"price_wei": 6 * TOKEN}, ["admission.max_unpaid_unknown is 5"]),
        ({"gas_price_wei": 10**11}, ["admission.max_gas_per_deal is 0.01"]),
    ],
)
def test_a_cap_that_lets_no_usual_job_through_is_told_to_the_operator(usual, told):
    found = costs.in_the_way(
        LIMITS, **{"price_wei": TOKEN, "collateral_wei": TOKEN, "gas_price_wei": 10**9} | usual
    )
    assert [any(text in reason for reason in found) for text in told] == [True] * len(told)
    assert len(found) == len(told)
