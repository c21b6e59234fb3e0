"""Results that are checked before they are accepted, and disputes carried to their end."""

import random
from dataclasses import replace

import pytest

from node.chain.rules import POOLED_RULES
from node.errors import Misconfigured, Retryable
from node.job.deal import AgreementState
from node.requester import steps
from node.requester.checking import Found, drawn
from node.requester.outcome import RunState
from node.types import Address
from tests.fakes.requester_market import MEDIATOR, REQUESTER, TOKEN
from tests.unit.requester.conftest import INPUTS, MODULE

ALWAYS = {"check_rate": 1.0}
BY_MEDIATOR = ALWAYS | {"check_by": "mediator"}
SECOND_MEDIATOR = Address("0x" + "c4" * 20)


def rules(scene, deal, *, accept, after=100):
    scene.clock.at(after, lambda: scene.market.rule(deal, accept=accept))


async def test_a_result_that_is_found_the_same_is_accepted_and_the_finding_told(scene):
    deal = scene.provider_serves()
    outcome = await scene.requester(**ALWAYS).request(MODULE, INPUTS)
    assert outcome.state is RunState.PAID
    assert scene.checker.checked == [(deal.deal_id, outcome.cid)]
    order = [type(step) for step in scene.steps]
    assert order.index(steps.Verified) < order.index(steps.Checking) < order.index(steps.Accepted)
    assert "found same" in scene.seen(steps.CheckedHere)[0].reason


async def test_without_a_check_nothing_is_computed(scene):
    scene.provider_serves()
    assert (await scene.requester().request(MODULE, INPUTS)).state is RunState.PAID
    assert scene.checker.checked == []


@pytest.mark.parametrize("found", [Found.WRONG, Found.UNKNOWN])
async def test_what_is_not_found_the_same_goes_to_a_mediator_whose_ruling_is_awaited(scene, found):
    scene.checker.found = found
    deal = scene.provider_serves()
    rules(scene, deal, accept=False)
    outcome = await scene.requester(**ALWAYS).request(MODULE, INPUTS)
    assert (outcome.state, outcome.exit_code) == (RunState.REJECTED, 1)
    assert scene.seen(steps.Disputed)[0].fee_wei == TOKEN
    assert scene.seen(steps.MediatorAwaited)[0].mediator == MEDIATOR
    assert not scene.seen(steps.Accepted)


async def test_a_ruling_for_the_provider_leaves_the_result_with_the_requester(scene):
    deal = scene.provider_serves()
    rules(scene, deal, accept=True)
    outcome = await scene.requester(**BY_MEDIATOR).request(MODULE, INPUTS)
    assert (outcome.state, outcome.paid_wei) == (RunState.PAID, TOKEN)
    assert (outcome.directory / "manifest.json").exists()
    assert scene.checker.checked == []


@pytest.mark.parametrize("served", [{"exit_code": "1"}, {"count": 2}, {"data_id": "no cid"}])
async def test_with_checks_on_what_is_no_result_at_all_is_disputed_without_asking(scene, served):
    deal = scene.provider_serves(**served)
    rules(scene, deal, accept=False)
    outcome = await scene.requester(**ALWAYS).request(MODULE, INPUTS)
    assert outcome.state is RunState.REJECTED
    assert scene.checker.checked == []


async def test_a_check_that_cannot_be_made_accepts_nothing_and_says_how_to_go_on(scene):
    scene.provider_serves()
    scene.checker.problem = Retryable("the GPU is too hot")
    outcome = await scene.requester(**ALWAYS).request(MODULE, INPUTS)
    assert outcome.state is RunState.RESULT_REFUSED
    assert "too hot" in outcome.reason
    assert "--resume" in outcome.next_step
    assert "--dispute" in outcome.next_step
    scene.checker.problem = None
    resumed = await scene.requester().resume(outcome.run_id)
    assert resumed.state is RunState.PAID
    assert len(scene.checker.checked) == 1


async def test_a_machine_that_could_not_check_posts_nothing(scene):
    scene.checker.unready = Misconfigured("weights are missing: sdv-node models pull sdv-1.1")
    with pytest.raises(Misconfigured, match="models pull"):
        await scene.requester(**ALWAYS).request(MODULE, INPUTS)
    assert scene.market.sends == 0


async def test_a_dispute_that_cannot_be_paid_for_is_left_to_a_person(scene):
    scene.checker.found = Found.WRONG
    scene.provider_serves()
    scene.market.refuse["check"] = "Insufficient balance"
    outcome = await scene.requester(**ALWAYS).request(MODULE, INPUTS)
    assert outcome.state is RunState.RESULT_REFUSED
    assert "found wrong" in outcome.reason
    assert "Insufficient balance" in outcome.reason


async def test_a_silent_mediator_is_passed_over_and_the_next_one_awaited(scene):
    deal = scene.deal()
    members = replace(deal.members, mediators=(MEDIATOR, SECOND_MEDIATOR))
    deal = scene.deal_with(members)
    cid = scene.result()
    scene.clock.at(3, lambda: scene.market.propose(deal))
    scene.clock.at(60, lambda: scene.market.submit(deal, cid))
    scene.clock.at(100, lambda: scene.market.pass_time(86_401))
    rules(scene, deal, accept=False, after=200)
    outcome = await scene.requester(**BY_MEDIATOR).request(MODULE, INPUTS)
    assert outcome.state is RunState.REJECTED
    assert [step.mediator for step in scene.seen(steps.MediatorAwaited)] == [MEDIATOR, SECOND_MEDIATOR]
    assert [step.mediator for step in scene.seen(steps.MediatorSilent)] == [MEDIATOR]


async def test_when_no_mediator_is_left_the_run_ends_as_the_market_has_it(scene):
    scene.provider_serves()
    scene.clock.at(100, lambda: scene.market.pass_time(86_401))
    outcome = await scene.requester(**BY_MEDIATOR).request(MODULE, INPUTS)
    assert outcome.state is RunState.ENDED
    assert "timeout_mediate_results" in outcome.reason


async def test_where_the_mediators_time_counts_from_the_result_it_is_not_asked_for_the_draw(scene):
    scene.market.rules = POOLED_RULES
    scene.market.allowance = 100 * TOKEN
    deal = scene.provider_serves()
    rules(scene, deal, accept=False)
    await scene.requester(**BY_MEDIATOR).request(MODULE, INPUTS)
    (awaited,) = scene.seen(steps.MediatorAwaited)
    submitted_at = scene.market.agreements[deal.deal_id].results_submitted_at
    assert awaited.over_at == submitted_at + deal.timeouts.judge_results.timeout_s


async def test_a_run_that_was_broken_off_in_a_dispute_waits_for_the_ruling_and_disputes_once(scene):
    scene.checker.found = Found.WRONG
    deal = scene.provider_serves()
    scene.clock.at(90, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        await scene.requester(**ALWAYS).request(MODULE, INPUTS)
    assert scene.market.agreements[deal.deal_id].state is AgreementState.RESULTS_CHECKED
    sends = scene.market.sends
    rules(scene, deal, accept=False, after=20)
    (run_id,) = {step.run_id for step in scene.seen(steps.Started)}
    assert (await scene.requester().resume(run_id)).state is RunState.REJECTED
    assert scene.market.sends == sends
    assert scene.market.tokens[REQUESTER] == 99 * TOKEN


@pytest.mark.parametrize(("rate", "share"), [(0.0, 0), (1.0, 1), (0.25, 0.25)])
def test_a_rate_is_the_share_of_runs_that_are_checked(rate, share):
    chance = random.Random(7)
    found = [drawn(rate, "mediator", chance) for _ in range(4000)]
    assert found.count("mediator") / 4000 == pytest.approx(share, abs=0.03)
    assert set(found) <= {"never", "mediator"}
