"""One requested job through every ending, and a process that dies at any transaction."""

import pytest

from node.chain.rules import POOLED_RULES
from node.errors import Misconfigured, RefusedByPolicy, Unreachable
from node.job.deal import AgreementState
from node.job.spec import InvalidInputs
from node.requester import steps
from node.requester.outcome import CannotPay, RunState, TransactionFailed
from node.requester.runs import UnknownRun
from node.types import Address
from tests.fakes.requester_market import PROVIDER, REQUESTER, TOKEN, BrokenOff
from tests.unit.requester.conftest import INPUTS, MODULE


async def test_a_good_result_is_accepted_and_paid(scene):
    deal = scene.provider_serves()
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert (outcome.state, outcome.exit_code, outcome.paid_wei) == (RunState.PAID, 0, TOKEN)
    assert outcome.directory == scene.data_dir / "downloaded-files" / deal.deal_id
    assert scene.market.tokens[REQUESTER] == 99 * TOKEN
    assert scene.seen(steps.Rendering)


async def test_what_is_rendered_and_waits_for_its_copies_is_told_as_that(scene):
    scene.provider_serves()
    scene.clock.at(20, lambda: setattr(scene.status, "publishing", True))
    await scene.requester().request(MODULE, INPUTS)
    told = [type(step) for step in scene.steps if isinstance(step, steps.Rendering | steps.Publishing)]
    first = told.index(steps.Publishing)
    assert set(told[:first]) == {steps.Rendering}
    assert set(told[first:]) == {steps.Publishing}


async def test_invalid_inputs_send_nothing(scene):
    with pytest.raises(InvalidInputs):
        await scene.requester().request(MODULE, ["Steps=4"])
    assert scene.market.sends == 0
    assert scene.steps == []


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"gas_wei": 0}, CannotPay, "holds no gas token"),
        ({"tokens": {REQUESTER: 0}}, CannotPay, "holds no tLP to pay with"),
        ({"deposit_wei": 1}, RefusedByPolicy, "standing allowance"),
    ],
)
async def test_a_wallet_that_cannot_pay_is_told_what_to_do_and_sends_nothing(scene, change, error, says):
    for name, value in change.items():
        setattr(scene.market, name, value)
    with pytest.raises(error, match=says):
        await scene.requester().request(MODULE, INPUTS)
    assert scene.market.sends == 0


async def test_nobody_proposing_in_time_ends_with_try_again(scene):
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert (outcome.state, outcome.exit_code) == (RunState.NO_PROPOSAL, 75)
    assert 120 <= sum(scene.clock.slept) <= 125


async def test_a_proposal_that_vanished_is_passed_over_for_the_next_one(scene):
    cheap, dear = scene.deal(), scene.deal(price_wei=2 * TOKEN)
    scene.clock.at(1, lambda: scene.market.propose(cheap))
    scene.clock.at(1, lambda: scene.market.propose(dear))
    scene.clock.at(3, lambda: scene.market.withdraw(cheap))
    cid = scene.result()
    scene.clock.at(60, lambda: scene.market.submit(dear, cid))
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert (outcome.state, outcome.deal_id, outcome.paid_wei) == (RunState.PAID, dear.deal_id, 2 * TOKEN)
    assert [step.deal_id for step in scene.seen(steps.ProposalIgnored)] == [cheap.deal_id]


async def test_an_agreement_that_the_market_refuses_lets_the_next_proposal_in(scene):
    cheap, dear = scene.deal(), scene.deal(price_wei=2 * TOKEN)
    scene.clock.at(1, lambda: scene.market.propose(cheap))
    scene.clock.at(1, lambda: scene.market.propose(dear))
    scene.market.refuse["agree"] = "Price"
    cid = scene.result()
    scene.clock.at(60, lambda: scene.market.submit(dear, cid))
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert outcome.deal_id == dear.deal_id
    assert "Price" in scene.seen(steps.ProposalIgnored)[0].reason
    assert scene.market.agreements[cheap.deal_id].job_creator_agreed_at == 0


async def test_a_proposal_that_the_wallet_cannot_cover_is_named_in_the_end(scene):
    scene.market.tokens[REQUESTER] = TOKEN
    scene.clock.at(1, lambda: scene.market.propose(scene.deal()))
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert outcome.state is RunState.NO_PROPOSAL
    assert "the wallet holds" in outcome.reason


async def test_a_result_with_another_cid_is_never_accepted(scene):
    deal = scene.provider_serves()
    scene.delivery.lying = True
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert (outcome.state, outcome.exit_code) == (RunState.RESULT_REFUSED, 1)
    assert "do not have the CID" in outcome.reason
    assert scene.market.agreements[deal.deal_id].state is AgreementState.RESULTS_SUBMITTED


async def test_a_gateway_that_is_down_leaves_the_result_unaccepted_until_the_run_is_resumed(scene):
    deal = scene.provider_serves()
    scene.delivery.down = True
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert (outcome.state, outcome.exit_code) == (RunState.NOT_DOWNLOADED, 3)
    assert scene.market.agreements[deal.deal_id].state is AgreementState.RESULTS_SUBMITTED
    scene.delivery.down = False
    assert (await scene.requester().resume(outcome.run_id)).state is RunState.PAID


@pytest.mark.parametrize("url", ["", "ftp://provider.example", "http://user@provider.example"])
async def test_a_provider_without_a_usable_address_is_not_taken(scene, url):
    scene.market.url = url
    scene.provider_serves()
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert outcome.state is RunState.NO_PROPOSAL
    assert "address" in outcome.reason
    assert scene.market.tokens[REQUESTER] == 100 * TOKEN


async def test_a_provider_that_takes_its_address_back_is_not_downloaded_from(scene):
    scene.provider_serves()
    scene.clock.at(40, lambda: setattr(scene.market, "url", ""))
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert outcome.state is RunState.NOT_DOWNLOADED


async def test_an_honest_failure_is_accepted_even_when_its_explanation_is_gone(scene):
    deal = scene.provider_serves(count=0, data_id="bafy-gone")
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert (outcome.state, outcome.exit_code, outcome.paid_wei) == (RunState.PROVIDER_FAILED, 1, 0)
    assert scene.market.agreements[deal.deal_id].state is AgreementState.RESULTS_ACCEPTED
    assert scene.market.tokens[REQUESTER] == 100 * TOKEN


async def test_a_silent_provider_is_claimed_from_once_block_time_allows(scene):
    deal = scene.deal(submit_timeout_s=60)
    scene.clock.at(1, lambda: scene.market.propose(deal))
    scene.clock.at(30, lambda: scene.market.pass_time(100))
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert (outcome.state, outcome.exit_code) == (RunState.PROVIDER_SILENT, 1)
    assert "came back" in outcome.reason
    assert scene.market.tokens[REQUESTER] == 101 * TOKEN


async def test_a_market_that_gives_no_refund_is_not_asked_for_ever(scene):
    scene.market.refunds_work = False
    scene.clock.at(1, lambda: scene.market.propose(scene.deal(submit_timeout_s=60)))
    scene.clock.at(30, lambda: scene.market.pass_time(100))
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert outcome.state is RunState.PROVIDER_SILENT
    assert outcome.run_id in outcome.next_step


async def test_where_silence_has_no_remedy_nothing_is_sent_and_it_is_said(scene):
    scene.market.rules, scene.market.allowance = POOLED_RULES, 10**30
    scene.clock.at(1, lambda: scene.market.propose(scene.deal(submit_timeout_s=60)))
    scene.clock.at(30, lambda: scene.market.pass_time(100))
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert outcome.state is RunState.PROVIDER_SILENT
    assert "no working refund" in outcome.reason
    assert not [intent for intent in scene.market.mined if ":refund:" in intent]


async def test_where_collateral_comes_from_the_balance_no_allowance_is_given(scene):
    scene.market.rules, scene.market.allowance = POOLED_RULES, 10**30
    scene.provider_serves()
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert outcome.state is RunState.PAID
    assert not [intent for intent in scene.market.mined if "approve" in intent]


async def test_a_deal_that_ended_otherwise_is_reported_as_it_is(scene):
    deal = scene.provider_serves()
    ended = AgreementState.TIMEOUT_MEDIATE_RESULTS
    scene.clock.at(30, lambda: scene.market._change(deal.deal_id, state=ended))
    scene.clock.plans = [plan for plan in scene.clock.plans if plan[0] < scene.clock.time + 50]
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert outcome.state is RunState.ENDED
    assert "timeout_mediate_results" in outcome.reason


async def test_an_endpoint_that_fails_for_a_while_is_waited_for(scene):
    scene.provider_serves()
    scene.clock.at(20, lambda: setattr(scene.market, "unreachable", 5))
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert outcome.state is RunState.PAID
    assert len(scene.seen(steps.Waiting)) == 5


async def test_an_endpoint_that_stays_away_ends_the_command_as_unreachable(scene):
    scene.clock.at(20, lambda: setattr(scene.market, "unreachable", 10**6))
    with pytest.raises(Unreachable) as caught:
        await scene.requester().request(MODULE, INPUTS)
    assert caught.value.exit_code == 3


async def test_a_job_that_the_market_refuses_to_post_says_why(scene):
    scene.market.refuse["run_job"] = "paused\x1b[2J"
    with pytest.raises(TransactionFailed, match=r"could not be posted: paused \[2J"):
        await scene.requester().request(MODULE, INPUTS)


async def test_acceptance_that_somebody_else_sent_counts_as_ours(scene):
    deal = scene.provider_serves()

    async def accept_elsewhere():
        scene.market._settle(deal)

    await_it = scene.delivery.fetch

    async def fetch(*arguments):
        await await_it(*arguments)
        await accept_elsewhere()

    scene.delivery.fetch = fetch
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert (outcome.state, outcome.paid_wei) == (RunState.PAID, TOKEN)
    assert [step.tx_hash for step in scene.seen(steps.Accepted)] == [None]


@pytest.mark.parametrize("after_it_was_sent", [False, True])
@pytest.mark.parametrize("transaction", [1, 2, 3, 4])
async def test_a_process_that_dies_at_any_transaction_resumes_and_pays_once(
    scene, transaction, after_it_was_sent
):
    deal = scene.provider_serves()
    scene.market.break_off_at = (transaction, after_it_was_sent)
    with pytest.raises(BrokenOff):
        await scene.requester().request(MODULE, INPUTS)
    scene.market.break_off_at = None
    (started,) = scene.seen(steps.Started)

    outcome = await scene.requester().resume(started.run_id)

    assert (outcome.state, outcome.deal_id) == (RunState.PAID, deal.deal_id)
    assert len(scene.market.jobs) == 1
    assert scene.delivery.downloads == 1
    assert scene.market.tokens == {REQUESTER: 99 * TOKEN, PROVIDER: 100 * TOKEN}


async def test_an_agreement_under_way_is_settled_before_another_provider_is_chosen(scene):
    deal = scene.deal(price_wei=2 * TOKEN)
    scene.clock.at(1, lambda: scene.market.propose(deal))
    scene.market.break_off_at = (3, True)
    with pytest.raises(BrokenOff):
        await scene.requester().request(MODULE, INPUTS)
    scene.market.break_off_at = None
    cheaper = scene.deal()
    scene.market.propose(cheaper)
    cid = scene.result()
    scene.clock.at(60, lambda: scene.market.submit(deal, cid))
    outcome = await scene.requester().resume(scene.seen(steps.Started)[0].run_id)
    assert outcome.deal_id == deal.deal_id
    assert scene.market.agreements[cheaper.deal_id].job_creator_agreed_at == 0


async def test_a_run_of_another_market_or_account_is_not_resumed(scene):
    outcome = await scene.requester().request(MODULE, INPUTS)
    scene.market.place = type(scene.market.place)(
        1, scene.market.place.controller, scene.market.place.job_manager
    )
    with pytest.raises(Misconfigured, match="is on chain 31337"):
        await scene.requester().resume(outcome.run_id)
    scene.market.place = type(scene.market.place)(31337, scene.market.place.controller, Address("0x"))
    requester = scene.requester()
    requester._address = PROVIDER
    with pytest.raises(Misconfigured, match="belongs to the account"):
        await requester.resume(outcome.run_id)


async def test_a_dispute_needs_a_deal_and_asks_for_a_mediator(scene):
    nothing = await scene.requester().request(MODULE, INPUTS)
    with pytest.raises(UnknownRun, match="no result to dispute"):
        await scene.requester().dispute(nothing.run_id)
    deal = scene.deal(number=2)
    cid = scene.result(exit_code="1")
    scene.clock.at(3, lambda: scene.market.propose(deal))
    scene.clock.at(60, lambda: scene.market.submit(deal, cid))
    refused = await scene.requester().request(MODULE, INPUTS)
    assert refused.state is RunState.RESULT_REFUSED
    assert refused.directory is not None
    scene.market.refuse["check"] = "Only JC"
    with pytest.raises(TransactionFailed, match="Only JC"):
        await scene.requester().dispute(refused.run_id)
    disputed = await scene.requester().dispute(refused.run_id)
    assert (disputed.state, disputed.exit_code) == (RunState.DISPUTED, 75)
    assert disputed.next_step.endswith(f"--resume {refused.run_id}")
    assert scene.market.agreements[deal.deal_id].state is AgreementState.RESULTS_CHECKED


def test_an_outcome_is_one_json_object_with_the_promised_fields(scene):
    from node.requester.outcome import Outcome

    document = Outcome(RunState.PAID, "0" * 12, 7, paid_wei=2**80).to_json()
    assert {"deal_id", "cid", "dir", "state", "paid_wei"} <= document.keys()
    assert (document["state"], document["paid_wei"]) == ("paid", str(2**80))
