"""A transaction that was mined and reverted, or an allowance that is gone, never ends a run for good.

The journal gives the recorded outcome of an intent for ever, so what is asked for again has the next number.
"""

import pytest

from node.job.deal import AgreementState
from node.requester import steps
from node.requester.outcome import RunState, TransactionFailed
from tests.fakes.requester_market import REQUESTER, TOKEN, BrokenOff
from tests.unit.requester.conftest import INPUTS, MODULE
from tests.unit.requester.test_hiring import ME, hired
from tests.unit.requester.test_offers import publish

__all__ = ["hired", "publish"]


def actions(scene) -> list[str]:
    return [intent.split(":", 2)[2] for intent in scene.market.mined]


def run_id(scene) -> str:
    return scene.seen(steps.Started)[0].run_id


@pytest.fixture
async def refused_result(scene):
    """Return a deal whose result is not what was asked for, and its run."""
    deal = scene.provider_serves(exit_code="1")
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert outcome.state is RunState.RESULT_REFUSED
    return deal, outcome.run_id


@pytest.mark.parametrize("action", ["run_job", "accept"])
async def test_a_step_that_reverted_is_sent_anew_by_resume(scene, action):
    deal = scene.provider_serves()
    scene.market.reverts[action] = 1
    with pytest.raises(TransactionFailed, match=r"paused; .*sdv-node run --resume"):
        await scene.requester().request(MODULE, INPUTS)
    outcome = await scene.requester().resume(run_id(scene))
    assert outcome.state is RunState.PAID
    name = action if action == "run_job" else f"{action}:{deal.deal_id}"
    assert [one for one in actions(scene) if one.startswith(action)] == [name, f"{name}:2"]


@pytest.mark.parametrize("action", ["approve", "agree"])
async def test_a_deal_whose_agreement_reverted_can_still_be_agreed_to_by_resume(scene, action):
    deal = scene.deal()
    scene.clock.at(3, lambda: scene.market.propose(deal))
    scene.market.reverts[action] = 1
    ended = await scene.requester().request(MODULE, INPUTS)
    assert ended.state is RunState.NO_PROPOSAL
    assert "paused" in ended.reason
    cid = scene.result()
    scene.clock.at(60, lambda: scene.market.submit(deal, cid))
    outcome = await scene.requester().resume(ended.run_id)
    assert (outcome.state, outcome.deal_id) == (RunState.PAID, deal.deal_id)
    assert f"{action}:{deal.deal_id}:2" in actions(scene)


async def test_after_a_reverted_agreement_a_resumed_run_chooses_anew(scene):
    dear = scene.deal(price_wei=2 * TOKEN)
    scene.clock.at(1, lambda: scene.market.propose(dear))
    scene.market.reverts["agree"] = 1
    scene.market.break_off_at = (3, True)
    with pytest.raises(BrokenOff):
        await scene.requester().request(MODULE, INPUTS)
    scene.market.break_off_at = None
    cheap, cid = scene.deal(), scene.result()
    scene.market.propose(cheap)
    scene.clock.at(60, lambda: scene.market.submit(cheap, cid))
    outcome = await scene.requester().resume(run_id(scene))
    assert (outcome.state, outcome.deal_id) == (RunState.PAID, cheap.deal_id)
    assert scene.market.agreements[dear.deal_id].job_creator_agreed_at == 0


async def test_an_allowance_that_is_gone_again_before_the_agreement_is_given_again(scene):
    deal = scene.provider_serves()
    scene.market.break_off_at = (3, False)
    with pytest.raises(BrokenOff):
        await scene.requester().request(MODULE, INPUTS)
    scene.market.break_off_at, scene.market.allowance = None, 0
    outcome = await scene.requester().resume(run_id(scene))
    assert (outcome.state, outcome.deal_id) == (RunState.PAID, deal.deal_id)
    assert f"approve:{deal.deal_id}:2" in actions(scene)
    assert scene.market.tokens[REQUESTER] == 99 * TOKEN


async def test_an_allowance_that_suffices_is_not_given_again(scene):
    scene.provider_serves()
    scene.market.allowance = 100 * TOKEN
    assert (await scene.requester().request(MODULE, INPUTS)).state is RunState.PAID
    assert not [one for one in actions(scene) if one.startswith("approve")]


@pytest.mark.parametrize("reverts", [1, 3])
async def test_a_refund_that_reverted_is_claimed_again_and_also_by_resume(scene, reverts):
    deal = scene.deal(submit_timeout_s=60)
    scene.clock.at(1, lambda: scene.market.propose(deal))
    scene.clock.at(30, lambda: scene.market.pass_time(100))
    scene.market.reverts["refund"] = reverts
    outcome = await scene.requester().request(MODULE, INPUTS)
    if reverts == 3:
        assert "did not give the refund" in outcome.reason
        outcome = await scene.requester().resume(outcome.run_id)
    assert "came back" in outcome.reason
    assert scene.market.tokens[REQUESTER] == 101 * TOKEN
    assert len([one for one in actions(scene) if one.startswith("refund")]) == reverts + 1


async def test_a_hire_whose_return_reverted_is_taken_back_by_resume(scene, hired):
    await hired(agrees=False)
    scene.clock.at(60, lambda: scene.market.pass_time(100))
    scene.market.reverts["take_back"] = 3
    outcome = await scene.requester().request(MODULE, INPUTS, ME)
    assert "did not give the refund" in outcome.reason
    outcome = await scene.requester().resume(outcome.run_id)
    assert "came back" in outcome.reason
    assert scene.market.tokens[REQUESTER] == 100 * TOKEN


@pytest.mark.parametrize("action", ["approve_fee", "check"])
async def test_a_dispute_that_reverted_can_be_asked_for_again(scene, refused_result, action):
    deal, run = refused_result
    scene.market.reverts[action] = 1
    with pytest.raises(TransactionFailed, match="paused"):
        await scene.requester().dispute(run)
    assert (await scene.requester().dispute(run)).state is RunState.DISPUTED
    assert scene.market.agreements[deal.deal_id].state is AgreementState.RESULTS_CHECKED
    assert f"{action}:{deal.deal_id}:2" in actions(scene)


async def test_a_dispute_whose_allowance_is_gone_gives_it_again(scene, refused_result):
    deal, run = refused_result
    scene.market.refuse["check"] = "paused"
    with pytest.raises(TransactionFailed, match="paused"):
        await scene.requester().dispute(run)
    scene.market.allowance = 0
    assert (await scene.requester().dispute(run)).state is RunState.DISPUTED
    assert f"approve_fee:{deal.deal_id}:2" in actions(scene)


async def test_a_dispute_asked_for_twice_sends_nothing_more(scene, refused_result):
    _, run = refused_result
    await scene.requester().dispute(run)
    sends, scene.market.allowance = scene.market.sends, 0
    assert (await scene.requester().dispute(run)).state is RunState.DISPUTED
    assert scene.market.sends == sends


async def test_what_was_accepted_cannot_be_disputed_and_sends_nothing(scene):
    scene.provider_serves()
    outcome = await scene.requester().request(MODULE, INPUTS)
    sends = scene.market.sends
    with pytest.raises(TransactionFailed, match="results_accepted"):
        await scene.requester().dispute(outcome.run_id)
    assert scene.market.sends == sends
