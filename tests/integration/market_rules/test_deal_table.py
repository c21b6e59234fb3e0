"""Checks 1 to 5 and 9 at the contracts: what each call of a deal moves, tells and refuses, on both of them.

Rows are (who, whole tokens, payment reason, payment direction) in the order of the events.
"""

from dataclasses import replace

import pytest

from node.chain.reverts import Meaning
from node.job.deal import AgreementState, Deal
from node.types import Wei
from tests.integration.market_rules.bench import HOUR, JC, JUDGE, RP, TOKEN, Bench

pytestmark = pytest.mark.integration
ours = pytest.mark.parametrize("deployment", ["ours"], indirect=True)
lilypad = pytest.mark.parametrize("deployment", ["lilypad"], indirect=True)
ZERO = "0x" + "00" * 20
STRANGER = "0x" + "99" * 20


async def state(bench: Bench, deal: Deal) -> AgreementState:
    return (await bench.contracts.get_agreement(deal.deal_id)).state


async def test_a_deal_that_the_provider_proposed_leaves_it_one_token_richer(bench):
    deal, calls = bench.deal(), bench.contracts
    assert await bench.send(RP, calls.agree(deal)) == [("RP", 1, 2, 0)]
    assert await bench.send(JC, calls.agree(deal)) == [("state", 1), ("JC", 2, 0, 0), ("JC", 1, 2, 0)]
    submitted = await bench.send(RP, calls.add_result(deal.deal_id, "", "bafyresult", 1))
    assert submitted == [("state", 2), ("RP", 2, 1, 0), ("RP", 1, 2, 2)]
    assert await bench.send(JC, calls.accept_result(deal.deal_id)) == [
        ("state", 3),
        ("RP", 1, 3, 1),
        ("JC", 1, 0, 2),
        ("JC", 1, 2, 2),
        ("RP", 2, 1, 2),
    ]
    assert await bench.gains() == {"RP": TOKEN, "JC": -TOKEN}


async def test_a_deal_that_the_job_creator_opened_ends_the_same(bench):
    deal, calls = bench.deal(), bench.contracts
    assert await bench.send(JC, calls.agree(deal)) == [("JC", 2, 0, 0), ("JC", 1, 2, 0)]
    assert await bench.send(RP, calls.agree(deal)) == [("state", 1), ("RP", 1, 2, 0)]
    await bench.send(RP, calls.add_result(deal.deal_id, "", "bafyresult", 1))
    await bench.send(JC, calls.accept_result(deal.deal_id))
    assert await bench.gains() == {"RP": TOKEN, "JC": -TOKEN}


async def test_a_rejected_result_costs_the_provider_its_collateral(bench):
    deal, calls = bench.deal(), bench.contracts
    await bench.submitted(deal)
    checked = await bench.send(JC, calls.check_result(deal.deal_id))
    assert checked == [("state", 4), ("JC", 1, 2, 2), ("JC", 1, 4, 0), ("drawn", "mediator")]
    assert await calls.get_mediator(deal.deal_id) == JUDGE
    assert await bench.send(JUDGE, calls.mediation_reject_result(deal.deal_id)) == [
        ("state", 6),
        ("JC", 2, 0, 2),
        ("mediator", 1, 4, 1),
        ("RP", 2, 1, 3),
    ]
    gained = {"RP": -2 * TOKEN, "JC": -TOKEN, "mediator": TOKEN, "owner": 2 * TOKEN}
    assert await bench.gains() == gained


async def test_a_result_accepted_after_a_check_costs_the_challenger_the_fee(bench):
    deal, calls = bench.deal(), bench.contracts
    await bench.submitted(deal)
    await bench.send(JC, calls.check_result(deal.deal_id))
    assert await bench.send(JUDGE, calls.mediation_accept_result(deal.deal_id)) == [
        ("state", 5),
        ("RP", 1, 3, 1),
        ("mediator", 1, 4, 1),
        ("JC", 1, 0, 2),
        ("RP", 2, 1, 2),
    ]
    assert await bench.gains() == {"RP": TOKEN, "JC": -2 * TOKEN, "mediator": TOKEN}


async def test_a_ruling_is_taken_through_the_mediation_contract_alone(bench):
    deal, calls = bench.deal(), bench.contracts
    await bench.submitted(deal)
    await bench.send(JC, calls.check_result(deal.deal_id))
    for ruling in (
        calls.mediation_accept_result(deal.deal_id),
        calls.mediation_reject_result(deal.deal_id),
    ):
        assert ruling.to == calls.addresses.mediation
        assert await bench.refused(RP, ruling) is Meaning.WRONG_ENTRY
        direct = type(ruling)(calls.addresses.controller, ruling.data, ruling.what)
        assert await bench.refused(JUDGE, direct) is Meaning.WRONG_ENTRY


async def test_an_honest_failure_costs_nobody_anything(bench):
    deal, calls = bench.deal(), bench.contracts
    submitted = await bench.submitted(deal, count=0)
    assert submitted == [("state", 2), ("RP", 0, 1, 0), ("RP", 1, 2, 2)]
    accepted = await bench.send(JC, calls.accept_result(deal.deal_id))
    assert accepted == [
        ("state", 3),
        ("RP", 0, 3, 1),
        ("JC", 2, 0, 2),
        ("JC", 1, 2, 2),
        ("RP", 0, 1, 2),
    ]
    assert await bench.gains() == {}


async def test_an_inflated_count_is_paid_from_the_payment_collateral_alone(bench):
    deal = bench.deal()
    submitted = await bench.submitted(deal, count=5)
    assert submitted == [("state", 2), ("RP", 10, 1, 0), ("RP", 1, 2, 2)]
    accepted = await bench.send(JC, bench.contracts.accept_result(deal.deal_id))
    assert accepted == [("state", 3), ("RP", 2, 3, 1), ("JC", 1, 2, 2), ("RP", 10, 1, 2)]
    assert await bench.gains() == {"RP": 2 * TOKEN, "JC": -2 * TOKEN}


@lilypad
@pytest.mark.parametrize(("price", "multiple", "count"), [(2**255, 1, 2), (2**200, 2**60, 1), (2, 2**255, 1)])
async def test_numbers_that_overflow_are_a_panic_with_a_meaning(bench, price, multiple, count):
    deal = bench.deal(price=Wei(price), multiple=multiple)
    await bench.agreed(deal)
    call = bench.contracts.add_result(deal.deal_id, "", "bafyresult", count)
    assert await bench.refused(RP, call) is Meaning.OVERFLOW


@ours
async def test_numbers_that_could_overflow_are_no_terms_of_ours(bench):
    for terms in ({"price": Wei(2**128)}, {"multiple": 2**64}):
        assert await bench.refused(RP, bench.contracts.agree(bench.deal(**terms))) is Meaning.BAD_TERMS


async def test_each_side_takes_an_unanswered_agreement_back(bench):
    calls = bench.contracts
    for number, (first, back) in enumerate(
        ((RP, [("RP", 1, 2, 2)]), (JC, [("JC", 2, 0, 2), ("JC", 1, 2, 2)])), start=1
    ):
        deal = bench.deal(number)
        await bench.send(first, calls.agree(deal))
        assert await bench.refused(first, calls.timeout_agree(deal.deal_id)) is Meaning.TOO_EARLY
        await bench.pass_time(HOUR + 1)
        assert await bench.send(first, calls.timeout_agree(deal.deal_id)) == [("state", 7), *back]
        assert await bench.refused(first, calls.agree(deal)) is Meaning.MOVED_ON
    assert await bench.gains() == {}


@lilypad
async def test_there_the_job_creator_gets_back_the_providers_amount(bench):
    calls = bench.contracts
    other, deal = bench.deal(1), bench.deal(2, judge_collateral=Wei(0), submit_collateral=Wei(3 * TOKEN))
    await bench.agreed(other)
    await bench.send(JC, calls.agree(deal))
    await bench.pass_time(HOUR + 1)
    taken = await bench.send(JC, calls.timeout_agree(deal.deal_id))
    assert taken == [("state", 7), ("JC", 2, 0, 2), ("JC", 3, 2, 2)]
    assert await calls.pooled_escrow(JC) == 0


async def test_a_drained_escrow_takes_the_pay_of_other_deals_only_where_it_is_pooled(bench):
    deal, calls = bench.deal(), bench.contracts
    await bench.submitted(deal)
    await bench.drain(JC)
    accept = calls.accept_result(deal.deal_id)
    if calls.rules.escrow_can_drain:
        assert await calls.pooled_escrow(JC) == 0
        assert await bench.refused(JC, accept) is Meaning.ESCROW_GONE
        assert await bench.refused(JC, calls.check_result(deal.deal_id)) is Meaning.ESCROW_GONE
    else:
        assert await calls.deal_escrow(deal.deal_id) == 5 * TOKEN
        assert ("RP", 1, 3, 1) in await bench.send(JC, accept)


async def test_an_agreement_after_the_window_binds_only_where_deadlines_do_not(bench):
    deal, calls = bench.deal(), bench.contracts
    await bench.send(RP, calls.agree(deal))
    await bench.pass_time(30 * 86400)
    if calls.rules.deadlines_bind:
        assert await bench.refused(JC, calls.agree(deal)) is Meaning.TOO_LATE
    else:
        assert ("state", 1) in await bench.send(JC, calls.agree(deal))
        await bench.pass_time(30 * 86400)
        assert ("state", 2) in await bench.send(RP, calls.add_result(deal.deal_id, "", "bafyresult", 1))
        await bench.pass_time(30 * 86400)
        assert ("state", 3) in await bench.send(JC, calls.accept_result(deal.deal_id))


async def test_silence_of_either_party_has_a_remedy_only_on_our_contracts(bench):
    calls = bench.contracts
    idle, unjudged = bench.deal(1), bench.deal(2)
    await bench.agreed(idle)
    await bench.submitted(unjudged)
    await bench.pass_time(HOUR + 1)
    claims = (
        (JC, calls.timeout_submit_result(idle.deal_id), 8),
        (RP, calls.timeout_judge_result(unjudged.deal_id), 9),
    )
    for who, call, reached in claims:
        if calls.rules.silence_has_remedy:
            assert (await bench.send(who, call))[0] == ("state", reached)
        else:
            assert await bench.refused(who, call) is Meaning.DEFECT


async def test_a_mediators_silence_ends_the_deal_by_each_deployments_own_rule(bench):
    deal, calls = bench.deal(), bench.contracts
    await bench.submitted(deal)
    if calls.rules.deadlines_bind:
        await bench.send(JC, calls.check_result(deal.deal_id))
        await bench.pass_time(HOUR + 1)
        paid = [("RP", 1, 3, 1), ("JC", 1, 0, 2), ("JC", 1, 4, 2), ("RP", 2, 1, 2)]
    else:
        # The time counts from the result on: a late check can be timed out at once.
        await bench.pass_time(HOUR + 1)
        await bench.send(JC, calls.check_result(deal.deal_id))
        paid = [("RP", 2, 1, 2), ("JC", 2, 0, 2), ("JC", 1, 4, 2)]
    assert await bench.send(JC, calls.timeout_mediate_result(deal.deal_id)) == [("state", 10), *paid]


@pytest.mark.parametrize("mediators", [(RP,), (JC,), (ZERO,), (JUDGE, JUDGE)])
async def test_mediators_that_are_no_judges_are_refused_by_our_contracts_alone(bench, mediators):
    call = bench.contracts.agree(bench.deal(mediators=mediators))
    if bench.contracts.rules.terms_are_checked:
        assert await bench.refused(JC, call) is Meaning.BAD_TERMS
    else:
        assert await bench.send(JC, call) == [("JC", 2, 0, 0), ("JC", 1, 2, 0)]


@lilypad
async def test_there_a_mediator_that_is_nobody_makes_a_check_impossible(bench):
    deal = bench.deal(mediators=(ZERO,))
    await bench.submitted(deal)
    assert await bench.refused(JC, bench.contracts.check_result(deal.deal_id)) is Meaning.WRONG_ENTRY


@lilypad
async def test_a_paused_token_stops_every_movement(bench):
    deal = bench.deal()
    assert not await bench.contracts.token_paused()
    await bench.pause()
    assert await bench.contracts.token_paused()
    assert await bench.refused(RP, bench.contracts.agree(deal)) is Meaning.PAUSED


async def test_a_second_agreement_of_the_same_party_says_that_it_is_done(bench):
    deal = bench.deal()
    for party in (RP, JC):
        await bench.send(party, bench.contracts.agree(deal))
        if party == RP:
            assert await bench.refused(RP, bench.contracts.agree(deal)) is Meaning.DONE_ALREADY
    assert await bench.refused(JC, bench.contracts.agree(deal)) is Meaning.MOVED_ON


async def test_an_id_that_somebody_else_took_says_which_term_differs(bench):
    deal = bench.deal()
    squatted = replace(bench.deal(provider=STRANGER), deal_id=deal.deal_id)
    await bench.send(JC, bench.contracts.agree(squatted))
    assert await bench.refused(RP, bench.contracts.agree(deal)) is Meaning.OTHER_TERMS
