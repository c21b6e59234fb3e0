"""Checks 1, 4, 5 and 6 with a real node: the same job under both sets of rules, and what each makes of it."""

from dataclasses import replace

import pytest

from node.job.deal import ZERO_ADDRESS, AgreementState, deal_id_for
from node.requester.outcome import RunState
from node.settlement.claims import NO_REMEDY
from tests.integration.market_rules.bench import JC, OWNER, RP, TOKEN
from tests.integration.market_rules.stage import MODULE

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
AGREE_S, SUBMIT_S, JUDGE_S = 600, 3600, 86_400


async def balances(stage):
    return [await stage.contracts.token_balance(account) for account in (RP, JC)]


async def test_a_job_is_run_verified_and_paid_by_a_real_node_and_a_real_requester(stage):
    await stage.start()
    before = await balances(stage)
    async with stage.requester() as party:
        outcome = await party.request(MODULE, ("Prompt=a fox",))
    assert (outcome.state, outcome.paid_wei) == (RunState.PAID, TOKEN)
    await stage.reached("PAID")
    after = await balances(stage)
    assert [now - then for now, then in zip(after, before, strict=True)] == [TOKEN, -TOKEN]
    assert await stage.sent() == ["agree", "addResult"]
    status = await stage.status()
    assert status["chain"]["rules"] == stage.contracts.rules.to_json()
    assert status["wallet"]["allowance_needed"] is stage.contracts.rules.needs_allowance


async def test_a_proposal_past_its_window_is_cancelled_at_once(stage):
    await stage.start()
    before = await stage.contracts.token_balance(RP)
    await stage.post()
    await stage.proposed()
    await stage.place.pass_time(AGREE_S + 1)
    await stage.reached("LAPSED")
    assert await stage.contracts.token_balance(RP) == before
    assert await stage.sent() == ["agree", "timeoutAgree"]


async def test_a_job_creator_that_agrees_late_is_served_where_the_contract_lets_it(stage):
    await stage.start()
    await stage.post()
    deal = await stage.proposed()
    await stage.provider.kill()
    await stage.place.pass_time(30 * 86_400)
    if stage.contracts.rules.deadlines_bind:
        await stage.start()
        await stage.reached("LAPSED")
        return
    await stage.bench.send(JC, stage.contracts.agree(deal))
    await stage.start()
    await stage.reached("SUBMITTED")
    await stage.bench.send(JC, stage.contracts.accept_result(deal.deal_id))
    await stage.reached("PAID")
    assert set(await stage.sent()) <= {"agree", "addResult", "timeoutAgree"}


async def test_a_result_that_nobody_judges_is_claimed_or_waits_and_no_call_known_to_revert_is_sent(stage):
    await stage.start()
    await stage.post()
    deal = await stage.agreed()
    await stage.reached("SUBMITTED")
    await stage.place.pass_time(JUDGE_S + 1)
    if stage.contracts.rules.silence_has_remedy:
        await stage.reached("PAID")
        assert await stage.sent() == ["agree", "addResult", "timeoutJudgeResult"]
        return
    await stage.reached("SUBMITTED", reason=NO_REMEDY)
    await stage.provider.kill()
    await stage.place.pass_time(10 * JUDGE_S)
    await stage.start()
    await stage.reached("SUBMITTED", reason=NO_REMEDY)
    await stage.bench.send(JC, stage.contracts.accept_result(deal.deal_id))
    await stage.reached("PAID")
    assert await stage.sent() == ["agree", "addResult"]


async def test_an_escrow_drained_while_the_job_is_rendered_stops_it_and_nothing_is_delivered(stage):
    await stage.start(worker={"profile": "fake:3000"}, deal={"escrow_check_s": 0.05})
    await stage.post()
    deal = await stage.agreed()
    await stage.reached("RENDERING")
    await stage.bench.drain(JC)
    if not stage.contracts.rules.escrow_can_drain:
        await stage.reached("SUBMITTED")
        await stage.bench.send(JC, stage.contracts.accept_result(deal.deal_id))
        await stage.reached("PAID")
        return
    job = await stage.reached("FAILED", reason="took its escrow out")
    assert job["cid"] is None
    assert "Rendered" not in [step["event"] for step in job["timeline"]]
    assert [step["event"] for step in job["timeline"]].count("EscrowDrained") == 1
    result = await stage.contracts.get_result(deal.deal_id)
    assert result is not None
    assert result.instruction_count == 0
    agreement = await stage.contracts.get_agreement(deal.deal_id)
    assert agreement.state is AgreementState.RESULTS_SUBMITTED
    assert await stage.contracts.token_balance(RP) == 10_000 * TOKEN


async def test_a_node_that_is_hired_directly_ends_a_deal_the_same(stage):
    await stage.start(market={"matching": "hire"})
    before = await balances(stage)
    await stage.post()
    deal = stage.standing()
    await stage.hire(deal)
    await stage.reached("SUBMITTED", job="h1")
    await stage.bench.send(JC, stage.contracts.accept_result(deal.deal_id))
    await stage.reached("PAID", job="h1")
    after = await balances(stage)
    assert [now - then for now, then in zip(after, before, strict=True)] == [TOKEN, -TOKEN]
    assert await stage.sent() == ["agree", "addResult"]


async def test_a_hire_with_judges_that_are_none_of_ours_is_refused_and_its_escrow_comes_back(stage):
    await stage.start(market={"matching": "hire"})
    before = await balances(stage)
    judges = [(OWNER,)]
    if not stage.contracts.rules.terms_are_checked:
        judges += [(RP,), (JC,), (ZERO_ADDRESS,)]
    for number, mediators in enumerate(judges, start=1):
        await stage.post()
        terms = stage.standing(number)
        members = replace(terms.members, mediators=mediators)
        deal_id = deal_id_for(
            stage.contracts.place, number, members, terms.timeouts, terms.pricing, "00000001"
        )
        await stage.hire(replace(terms, deal_id=deal_id, members=members))
        refused = await stage.reached("REFUSED", job=f"h{number}")
        assert "mediator" in refused["reason"]
        await stage.place.pass_time(AGREE_S + 1)
        await stage.bench.send(JC, stage.contracts.timeout_agree(deal_id))
    assert await balances(stage) == before
    assert await stage.sent() == []


async def test_an_escrow_drained_before_a_hire_is_agreed_to_leaves_the_node_out_of_it(stage):
    await stage.start(market={"matching": "hire"})
    await stage.provider.kill()
    await stage.post()
    deal = stage.standing()
    await stage.hire(deal)
    await stage.bench.drain(JC)
    await stage.start()
    if stage.contracts.rules.escrow_can_drain:
        await stage.reached("SEEN", job="h1", reason="are in escrow")
        assert await stage.sent() == []
    else:
        await stage.reached("SUBMITTED", job="h1")
