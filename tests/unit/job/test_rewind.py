from dataclasses import replace

import pytest

from node.job.deal import Agreement
from node.job.deal import AgreementState as State
from node.job.effects import EffectKind
from node.job.events import (
    BlocksDropped,
    CannotDeliver,
    DealMoved,
    HireSeen,
    OfferSeen,
    ProposalMined,
    Published,
    Rendered,
)
from node.job.job import Job
from node.job.phase import Phase
from node.job.transition import open_job, transition
from tests.fakes.jobs import POSTED_AT, TOKEN, make_deal, make_job, make_offer, make_spec

TX = "0x" + "11" * 32
AGREED_AT = POSTED_AT + 20
NOTHING = Agreement(State.DEAL_NEGOTIATING)
PROPOSED = Agreement(State.DEAL_NEGOTIATING, resource_provider_agreed_at=5, deal_created_at=POSTED_AT)
AGREED = Agreement(State.DEAL_AGREED, 5, 6, POSTED_AT, AGREED_AT)
SUBMITTED = replace(AGREED, state=State.RESULTS_SUBMITTED, results_submitted_at=AGREED_AT + 60)
CHECKED = replace(SUBMITTED, state=State.RESULTS_CHECKED, results_checked_at=AGREED_AT + 90)


def dropped(job: Job, agreement: Agreement | None, ancestor: int = 50):
    return transition(job, BlocksDropped(ancestor, agreement))


def kinds(effects):
    return [effect.kind for effect in effects]


def resting(phase: Phase, chain_block: int = 60, **changes) -> Job:
    return make_job(phase, chain_block=chain_block, **changes)


def test_a_job_that_rests_on_blocks_that_still_stand_is_left_alone():
    job = resting(Phase.SUBMITTED, chain_block=50, cid="bafy")
    assert dropped(job, AGREED) == (job, ())


@pytest.mark.parametrize(
    ("job", "agreement", "phase", "orders"),
    [
        (resting(Phase.PROPOSED), NOTHING, Phase.PROPOSING, [EffectKind.PROPOSE]),
        (resting(Phase.AGREED), PROPOSED, Phase.PROPOSED, []),
        (resting(Phase.LAPSED), PROPOSED, Phase.PROPOSED, []),
        (resting(Phase.SUBMITTED), AGREED, Phase.AGREED, [EffectKind.RENDER]),
        (resting(Phase.SUBMITTED, outputs=("a",)), AGREED, Phase.PUBLISHING, [EffectKind.PUBLISH]),
        (
            resting(Phase.SUBMITTED, outputs=("a",), cid="bafy"),
            AGREED,
            Phase.SUBMITTING,
            [EffectKind.SUBMIT_RESULT],
        ),
        (resting(Phase.FAILED, failing=True), AGREED, Phase.FAILING, [EffectKind.SUBMIT_FAILURE]),
        (resting(Phase.PAID, cid="bafy"), SUBMITTED, Phase.SUBMITTED, []),
        (resting(Phase.FAILED, failing=True), SUBMITTED, Phase.FAILED, []),
        (resting(Phase.REJECTED, cid="bafy"), CHECKED, Phase.DISPUTED, []),
    ],
)
def test_a_job_goes_back_to_what_the_chain_says_at_the_last_block_that_stands(job, agreement, phase, orders):
    after, effects = dropped(job, agreement)
    assert (after.phase, kinds(effects)) == (phase, orders)
    assert (after.outputs, after.cid) == (job.outputs, job.cid), "work that is done stays done"
    assert after.chain_block == 50


@pytest.mark.parametrize("told", [(None, None), (AGREED, "j1-another")])
def test_a_proposal_decided_for_while_the_chain_was_asked_goes_on_by_itself(told):
    agreement, deal_id = told
    job, effects = transition(resting(Phase.PROPOSING), BlocksDropped(50, agreement, deal_id))
    assert (job.phase, kinds(effects)) == (Phase.PROPOSING, [EffectKind.PROPOSE])


def test_deadlines_are_those_of_the_chain_again():
    assert dropped(resting(Phase.SUBMITTED, cid="bafy"), AGREED)[0].deadline == AGREED_AT + 3600
    assert dropped(resting(Phase.PAID, cid="bafy"), SUBMITTED)[0].deadline == AGREED_AT + 60 + 86_400


def test_a_payment_that_was_dropped_is_not_counted_and_is_counted_when_it_comes_again():
    job = resting(Phase.PAID, cid="bafy", paid_wei=TOKEN)
    job, _ = dropped(job, SUBMITTED)
    assert job.paid_wei == 0
    job, _ = transition(job, DealMoved(State.RESULTS_ACCEPTED, AGREED_AT + 99, TX, TOKEN, 61))
    assert (job.phase, job.paid_wei, job.chain_block) == (Phase.PAID, TOKEN, 61)


def test_work_that_ends_after_its_deal_was_dropped_is_kept_and_not_done_again():
    job, _ = dropped(resting(Phase.RENDERING), PROPOSED)
    job, effects = transition(job, Rendered(("outputs/a",), "class"))
    assert (job.phase, effects) == (Phase.PROPOSED, ())
    job, effects = transition(job, DealMoved(State.DEAL_AGREED, AGREED_AT, TX, 0, 61))
    assert (job.phase, kinds(effects)) == (Phase.PUBLISHING, [EffectKind.PUBLISH])


def test_a_running_step_goes_on_where_its_job_was_put_back_to_the_same_deal():
    job, _ = dropped(resting(Phase.PUBLISHING, outputs=("a",)), AGREED)
    job, effects = transition(job, Published("bafy"))
    assert (job.phase, kinds(effects)) == (Phase.SUBMITTING, [EffectKind.SUBMIT_RESULT])


def test_an_honest_failure_stays_one():
    job, _ = transition(resting(Phase.RENDERING), CannotDeliver("out of memory"))
    job, effects = dropped(job, AGREED)
    assert (job.phase, job.reason, kinds(effects)) == (
        Phase.FAILING,
        "out of memory",
        [EffectKind.SUBMIT_FAILURE],
    )


def at(block: int, prompt: str = "a red fox") -> OfferSeen:
    return OfferSeen(replace(make_offer(), block_number=block, spec=make_spec(f"Prompt={prompt}")))


def test_an_offer_that_comes_again_in_another_block_is_the_same_job():
    job, _ = open_job(at(60))
    job, _ = dropped(job, None)
    assert (job.phase, job.orphaned) == (Phase.LAPSED, True)
    job, effects = transition(job, at(61))
    assert (job.phase, job.orphaned, job.chain_block) == (Phase.SEEN, False, 61)
    assert [effect.effect_id for effect in effects] == ["j1:evaluate:1"]


def test_a_proposal_for_an_offer_that_comes_again_goes_on():
    job = replace(resting(Phase.PROPOSED), offer=at(60).offer)
    job, _ = dropped(job, NOTHING)
    job, effects = transition(job, at(61))
    assert (job.phase, job.orphaned, effects) == (Phase.PROPOSING, False, ())


def test_nothing_is_rendered_for_an_offer_that_another_one_replaced():
    job = replace(resting(Phase.PROPOSED), offer=at(60).offer)
    job, _ = dropped(job, NOTHING)
    job, _ = transition(job, at(61, "another prompt"))
    job, _ = transition(job, ProposalMined(AGREED_AT, 62))
    job, effects = transition(job, DealMoved(State.DEAL_AGREED, AGREED_AT, TX, 0, 63))
    assert (job.phase, kinds(effects)) == (Phase.FAILING, [EffectKind.SUBMIT_FAILURE])
    assert "reorganisation" in str(job.reason)


def hire(block: int) -> HireSeen:
    return HireSeen(make_offer(), make_deal(), POSTED_AT, block)


def test_a_hire_whose_deal_is_gone_lapses_and_lives_again_with_it():
    job, _ = open_job(hire(60))
    job, _ = dropped(job, NOTHING)
    assert job.phase is Phase.LAPSED
    job, effects = transition(job, hire(61))
    assert (job.phase, kinds(effects)) == (Phase.SEEN, [EffectKind.EVALUATE])


def test_a_hire_that_we_agreed_to_follows_its_agreement():
    job, _ = open_job(hire(60))
    job = replace(job, phase=Phase.AGREED)
    job, effects = dropped(job, Agreement(State.DEAL_NEGOTIATING, job_creator_agreed_at=5))
    assert (job.phase, kinds(effects)) == (Phase.AGREEING, [EffectKind.AGREE])


def test_a_hire_under_way_goes_on_when_its_deal_appears_in_another_block():
    job, _ = open_job(hire(60))
    job = replace(job, phase=Phase.AGREED, offer=at(60).offer)
    job, _ = dropped(job, NOTHING)
    assert (job.phase, job.orphaned) == (Phase.AGREEING, True)
    job, effects = transition(job, replace(hire(61), offer=at(61).offer))
    assert (job.phase, job.orphaned, effects) == (Phase.AGREEING, False, ())
    job, _ = transition(job, DealMoved(State.DEAL_AGREED, AGREED_AT, TX, 0, 62))
    assert job.phase is Phase.AGREED


def test_draws_of_mediators_go_with_the_dispute_they_belong_to():
    job = resting(Phase.CLAIMING, cid="bafy", draws=1, drawn_in=55)
    assert dropped(job, SUBMITTED)[0].draws == 0
    assert dropped(job, CHECKED, ancestor=56)[0].draws == 1
