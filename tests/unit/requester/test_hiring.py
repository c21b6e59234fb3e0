"""Hiring a provider on its published offer: what is sent, what comes back, and a process that dies."""

from dataclasses import replace

import pytest

from node.job.deal import Agreement, AgreementState
from node.requester import steps
from node.requester.hiring import CannotHire, NoOfferToHire
from node.requester.outcome import RunState
from node.requester.runs import RunRecords
from tests.fakes.requester_market import PROVIDER, REQUESTER, TOKEN, BrokenOff
from tests.unit.requester.conftest import INPUTS, MODULE
from tests.unit.requester.test_offers import OFFER, SIGNER, publish

__all__ = ["publish"]
ME = SIGNER.address
TERMS = replace(
    OFFER.terms, prices=replace(OFFER.terms.prices, per_job_wei=TOKEN, per_step_wei=0), agree_timeout_s=30
)


@pytest.fixture
def hired(scene, publish):
    """Publish an offer, and plan the provider's answer and its result."""
    scene.market.tokens[ME] = 100 * TOKEN

    async def plan(*, agrees=True, **changes):
        await publish(terms=TERMS, **changes)
        cid = scene.result("of-the-hire")

        def answer():
            for deal_id, agreement in scene.market.agreements.items():
                if agreement.state is AgreementState.DEAL_NEGOTIATING and agreement.job_creator_agreed_at:
                    scene.market.answer_hire(deal_id)

        def submit():
            for deal_id, agreement in list(scene.market.agreements.items()):
                if agreement.state is AgreementState.DEAL_AGREED:
                    scene.market.submit(scene.market.deals[deal_id], cid)

        if agrees:
            scene.clock.at(20, answer)
            scene.clock.at(40, submit)
        return cid

    return plan


async def test_the_named_provider_is_hired_on_its_terms_and_paid(scene, hired):
    await hired()
    outcome = await scene.requester().request(MODULE, INPUTS, ME)
    assert (outcome.state, outcome.paid_wei) == (RunState.PAID, TOKEN)
    deal = scene.market.deals[outcome.deal_id]
    assert deal.members.resource_provider == ME
    story = [type(step) for step in scene.steps]
    assert story[:6] == [
        steps.OfferFound,
        steps.Started,
        steps.JobPosted,
        steps.Chosen,
        steps.Hired,
        steps.Rendering,
    ]
    assert story.count(steps.DealAgreed) == 1
    assert scene.market.tokens[REQUESTER] == 99 * TOKEN


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"valid_until": 5}, "was good until"),
        ({"modules": ()}, "does not offer"),
        ({"mediators": (ME,)}, "mediator"),
    ],
)
async def test_a_provider_that_cannot_be_hired_is_told_before_anything_is_sent(scene, hired, changes, reason):
    await hired(**changes)
    with pytest.raises(CannotHire, match=reason):
        await scene.requester().request(MODULE, INPUTS, ME)
    assert scene.market.sends == 0


async def test_a_wallet_that_cannot_cover_the_hire_sends_nothing(scene, hired):
    await hired()
    scene.market.tokens[REQUESTER] = 2 * TOKEN - 1
    with pytest.raises(CannotHire, match="the wallet holds"):
        await scene.requester().request(MODULE, INPUTS, ME)
    assert scene.market.sends == 0


async def test_without_any_offer_a_hire_sends_nothing(scene):
    with pytest.raises(NoOfferToHire, match="no provider offers") as caught:
        await scene.requester(matching="hire").request(MODULE, INPUTS)
    assert caught.value.exit_code == 75
    assert scene.market.sends == 0


async def test_the_end_of_a_run_names_the_offers_that_were_not_to_be_had(scene, hired):
    await hired(valid_until=5)
    with pytest.raises(NoOfferToHire, match=rf"{ME}: its offer was good until .* see to what is named"):
        await scene.requester(matching="hire").request(MODULE, INPUTS)
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert outcome.state is RunState.NO_PROPOSAL
    assert f"none of the 1 published offers could be taken ({ME}: its offer was good until" in outcome.reason
    assert outcome.next_step.startswith("see to what is named")


async def test_the_cheapest_offer_is_hired_at_once_when_hiring_is_asked_for(scene, hired):
    await hired()
    outcome = await scene.requester(matching="hire").request(MODULE, INPUTS)
    assert outcome.state is RunState.PAID
    assert scene.market.deals[outcome.deal_id].members.resource_provider == ME


async def test_a_proposal_of_the_same_price_is_taken_before_an_offer(scene, hired):
    await hired()
    deal = scene.deal()
    scene.clock.at(1, lambda: scene.market.propose(deal))
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert (outcome.state, outcome.deal_id) == (RunState.PAID, deal.deal_id)


async def test_a_cheaper_offer_is_taken_before_a_proposal_and_out_of_both(scene, hired):
    await hired()
    scene.clock.at(1, lambda: scene.market.propose(scene.deal(price_wei=2 * TOKEN)))
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert scene.market.deals[outcome.deal_id].members.resource_provider == ME
    assert scene.seen(steps.Chosen)[0].out_of == 2


async def test_an_offer_that_went_stale_while_waiting_gives_way_to_the_proposals(scene, hired):
    await hired(valid_until=scene.market.now + 3)
    scene.clock.at(1, lambda: scene.market.pass_time(10))
    deal = scene.deal()
    scene.clock.at(12, lambda: scene.market.propose(deal))
    outcome = await scene.requester().request(MODULE, INPUTS)
    assert (outcome.state, outcome.deal_id) == (RunState.PAID, deal.deal_id)
    assert "was good until" in scene.seen(steps.OfferIgnored)[0].reason


async def test_nobody_is_hired_by_those_who_wait_for_proposals(scene, hired):
    await hired()
    outcome = await scene.requester(matching="propose").request(MODULE, INPUTS)
    assert outcome.state is RunState.NO_PROPOSAL
    assert scene.market.deals == {}


async def test_a_silent_provider_costs_nothing_and_the_next_one_is_hired(scene, hired, publish):
    cid = await hired(agrees=False)
    other = (await publish(replace_signer(), terms=replace(TERMS, agree_timeout_s=60))).provider
    scene.market.tokens[other] = 100 * TOKEN
    scene.clock.at(10, lambda: scene.market.pass_time(40))

    def serve():
        for deal_id, deal in list(scene.market.deals.items()):
            if deal.members.resource_provider == other:
                scene.market.answer_hire(deal_id)
                scene.market.submit(deal, cid)

    scene.clock.at(30, serve)
    first = min(ME, other)
    outcome = await scene.requester(matching="hire").request(MODULE, INPUTS)
    if first == ME:
        assert [step.provider for step in scene.seen(steps.HireLapsed)] == [ME]
    assert outcome.state is RunState.PAID
    assert scene.market.deals[outcome.deal_id].members.resource_provider == other
    assert scene.market.tokens[REQUESTER] == 99 * TOKEN
    assert len(scene.market.jobs) == 1


def replace_signer():
    from node.chain.devnet import dev_signer

    # Ranked after the first one among equals: by address.
    return max((dev_signer(number) for number in range(4)), key=lambda signer: signer.address)


async def test_a_named_provider_that_stays_silent_ends_the_run_with_everything_back(scene, hired):
    await hired(agrees=False)
    scene.status.refused["h1"] = "its price is 1, published is 2"
    scene.clock.at(10, lambda: scene.market.pass_time(40))
    outcome = await scene.requester().request(MODULE, INPUTS, ME)
    assert (outcome.state, outcome.exit_code) == (RunState.PROVIDER_SILENT, 1)
    assert "did not agree in time" in outcome.reason
    assert scene.market.tokens[REQUESTER] == 100 * TOKEN
    assert scene.seen(steps.HireRefused) == [steps.HireRefused(ME, "its price is 1, published is 2")]
    (deal_id,) = scene.market.deals
    assert scene.market.agreements[deal_id].state is AgreementState.TIMEOUT_AGREE


async def test_a_provider_that_proposed_the_same_deal_meanwhile_is_agreed_with_at_once(scene, hired, publish):
    cid = await hired(agrees=False)
    from node.requester.offers import hire_deal
    from node.requester.proposals import Limits, Request

    document = replace(OFFER, provider=ME, mediators=(scene.deal().members.mediators), terms=TERMS)
    deal = hire_deal(document, scene.spec, Request(scene.market.place, 1, REQUESTER), Limits(5 * TOKEN))
    real_send = scene.market.send

    async def send(intent):
        outcome = await real_send(intent)
        if intent.intent_id.endswith(":run_job"):
            scene.market.propose(deal)
        return outcome

    scene.market.send = send
    scene.clock.at(30, lambda: scene.market.submit(deal, cid))
    outcome = await scene.requester().request(MODULE, INPUTS, ME)
    assert (outcome.state, outcome.deal_id) == (RunState.PAID, deal.deal_id)
    assert not scene.seen(steps.Hired)
    assert len(scene.market.deals) == 1


async def test_an_id_that_somebody_else_took_is_left_for_the_next_salt(scene, hired):
    await hired()
    from node.requester.offers import hire_deal
    from node.requester.proposals import Limits, Request

    document = replace(OFFER, provider=ME, mediators=(scene.deal().members.mediators), terms=TERMS)
    deal = hire_deal(document, scene.spec, Request(scene.market.place, 1, REQUESTER), Limits(5 * TOKEN))
    squatted = replace(deal, pricing=replace(deal.pricing, mediation_fee_wei=0))
    scene.market.tokens[PROVIDER] = 100 * TOKEN
    scene.market.propose(squatted)
    outcome = await scene.requester().request(MODULE, INPUTS, ME)
    assert outcome.state is RunState.PAID
    assert outcome.deal_id != deal.deal_id


@pytest.mark.parametrize("after_it_was_sent", [False, True])
@pytest.mark.parametrize("transaction", [1, 2, 3, 4])
async def test_a_process_that_dies_at_any_transaction_of_a_hire_resumes_and_pays_once(
    scene, hired, transaction, after_it_was_sent
):
    await hired()
    scene.market.break_off_at = (transaction, after_it_was_sent)
    with pytest.raises(BrokenOff):
        await scene.requester().request(MODULE, INPUTS, ME)
    scene.market.break_off_at = None
    (started,) = scene.seen(steps.Started)

    outcome = await scene.requester().resume(started.run_id)

    assert outcome.state is RunState.PAID
    assert len(scene.market.jobs) == 1
    assert len(scene.market.deals) == 1
    assert scene.market.tokens[REQUESTER] == 99 * TOKEN
    (stood,) = scene.seen(steps.Resumed)
    posted, agreed = transaction > 1, (transaction, after_it_was_sent) > (3, False)
    assert stood.number == (1 if posted else None)
    assert stood.provider == (ME if stood.deal_id else None)
    assert (stood.state is not None) == agreed


async def test_a_resumed_hire_goes_on_with_the_provider_that_was_named(scene, hired, publish):
    await hired()
    cheaper = replace(TERMS, prices=replace(TERMS.prices, per_job_wei=1, floor_wei=1))
    scene.market.break_off_at = (1, True)
    with pytest.raises(BrokenOff):
        await scene.requester().request(MODULE, INPUTS, ME)
    scene.market.break_off_at = None
    await publish(replace_signer(), terms=cheaper)
    outcome = await scene.requester().resume(scene.seen(steps.Started)[0].run_id)
    assert scene.market.deals[outcome.deal_id].members.resource_provider == ME


async def test_an_id_that_was_taken_before_our_agreement_was_mined_is_not_followed_as_ours(scene, hired):
    await hired()
    scene.market.break_off_at = (3, False)  # written down, not sent yet
    with pytest.raises(BrokenOff):
        await scene.requester().request(MODULE, INPUTS, ME)
    scene.market.break_off_at = None
    run_id = scene.seen(steps.Started)[0].run_id
    ours = RunRecords(scene.data_dir).load(run_id).hire
    squatted = replace(ours, members=replace(ours.members, job_creator=PROVIDER))
    scene.market.deals[ours.deal_id] = squatted
    scene.market.agreements[ours.deal_id] = Agreement(
        AgreementState.DEAL_NEGOTIATING, job_creator_agreed_at=5, deal_created_at=5
    )
    scene.market.refuse["agree"] = "JC"
    outcome = await scene.requester().resume(run_id)
    assert outcome.state is RunState.PAID
    assert outcome.deal_id != ours.deal_id
    assert scene.market.tokens[REQUESTER] == 99 * TOKEN
