from dataclasses import replace

import pytest

from node.errors import IllegalTransition
from node.job.deal import AgreementState as State
from node.job.effects import EffectKind
from node.job.events import (
    Admitted,
    CannotDeliver,
    ClaimRefused,
    DealMoved,
    Declined,
    JudgeWindowPassed,
    MediationWindowPassed,
    MediatorDrawn,
    OfferSeen,
    ProposalMined,
    ProposalWindowPassed,
    Published,
    Rendered,
    RenderStarted,
    SubmissionRefused,
)
from node.job.phase import TERMINAL, Phase
from node.job.transition import due, open_job, transition
from tests.fakes.jobs import MEDIATOR, POSTED_AT, TOKEN, make_deal, make_job, make_offer

TX = "0x" + "11" * 32


def moved(state: State, at: int = POSTED_AT + 100, paid_wei: int = 0) -> DealMoved:
    return DealMoved(state, at, TX, paid_wei)


def walk(job, *events):
    orders = []
    for event in events:
        job, effects = transition(job, event)
        orders += [effect.kind for effect in effects]
    return job, orders


HAPPY = (
    Admitted(make_deal(), POSTED_AT + 600),
    ProposalMined(POSTED_AT + 2),
    moved(State.DEAL_AGREED, POSTED_AT + 4),
    RenderStarted(),
    Rendered(("outputs/output_00001_.mp4",), "class"),
    Published("bafy"),
    moved(State.RESULTS_SUBMITTED, POSTED_AT + 60),
    moved(State.RESULTS_ACCEPTED, POSTED_AT + 70, TOKEN),
)


def test_a_job_goes_from_offer_to_paid_and_each_step_orders_the_next():
    job, effects = open_job(OfferSeen(make_offer()))
    assert [effect.kind for effect in effects] == [EffectKind.EVALUATE]
    job, orders = walk(job, *HAPPY)
    assert job.phase is Phase.PAID
    assert job.paid_wei == TOKEN
    assert orders == [
        EffectKind.PROPOSE,
        EffectKind.RENDER,
        EffectKind.PUBLISH,
        EffectKind.SUBMIT_RESULT,
    ]


def test_a_declined_offer_is_refused_with_its_reason():
    job, _ = transition(make_job(Phase.SEEN), Declined("no mediator"))
    assert (job.phase, job.reason) == (Phase.REFUSED, "no mediator")


def test_every_step_taken_twice_changes_nothing_and_orders_nothing():
    job, _ = open_job(OfferSeen(make_offer()))
    for event in HAPPY:
        job, _ = transition(job, event)
        again, effects = transition(job, event)
        assert again == job
        assert effects == ()


def test_an_unanswered_proposal_is_withdrawn_after_its_window_and_lapses():
    job, _ = walk(make_job(Phase.SEEN), *HAPPY[:2])
    assert due(job, POSTED_AT + 2 + 600) is None, "the contract needs strictly more"
    event = due(job, POSTED_AT + 2 + 601)
    assert event == ProposalWindowPassed(POSTED_AT + 603)
    job, orders = walk(job, event)
    assert (job.phase, orders) == (Phase.WITHDRAWING, [EffectKind.WITHDRAW])
    job, _ = walk(job, moved(State.TIMEOUT_AGREE))
    assert job.phase is Phase.LAPSED


def test_a_requester_who_agrees_while_we_withdraw_gets_its_job():
    job, orders = walk(make_job(Phase.WITHDRAWING), moved(State.DEAL_AGREED))
    assert (job.phase, orders) == (Phase.AGREED, [EffectKind.RENDER])


def test_a_requester_who_never_judges_is_claimed_against():
    job, _ = walk(make_job(Phase.SUBMITTING, cid="bafy"), moved(State.RESULTS_SUBMITTED, POSTED_AT))
    event = due(job, POSTED_AT + 86401)
    assert event == JudgeWindowPassed(POSTED_AT + 86401)
    job, orders = walk(job, event)
    assert (job.phase, orders) == (Phase.CLAIMING, [EffectKind.CLAIM_JUDGE_TIMEOUT])
    job, _ = walk(job, moved(State.TIMEOUT_JUDGE_RESULTS, paid_wei=TOKEN))
    assert (job.phase, job.paid_wei) == (Phase.PAID, TOKEN)


def test_a_dispute_ends_with_the_ruling():
    disputed, _ = walk(
        make_job(Phase.SUBMITTED), moved(State.RESULTS_CHECKED), MediatorDrawn(MEDIATOR, POSTED_AT)
    )
    assert disputed.phase is Phase.DISPUTED
    assert walk(disputed, moved(State.MEDIATION_ACCEPTED, paid_wei=TOKEN))[0].phase is Phase.PAID
    assert walk(disputed, moved(State.MEDIATION_REJECTED))[0].phase is Phase.REJECTED


def test_each_silent_mediator_is_timed_out_by_a_claim_of_its_own():
    job, _ = walk(make_job(Phase.SUBMITTED), moved(State.RESULTS_CHECKED), MediatorDrawn(MEDIATOR, POSTED_AT))
    claims = []
    for _ in range(2):
        job, effects = transition(job, MediationWindowPassed(job.deadline + 1))
        claims += [effect.effect_id for effect in effects]
        job, _ = transition(job, MediatorDrawn(MEDIATOR, job.offer.posted_at + 90_000))
    assert job.phase is Phase.DISPUTED
    assert len(set(claims)) == 2


def test_a_job_that_cannot_be_delivered_is_failed_honestly():
    job, orders = walk(make_job(Phase.RENDERING), CannotDeliver("out of memory"))
    assert (job.phase, orders) == (Phase.FAILING, [EffectKind.SUBMIT_FAILURE])
    job, _ = walk(job, moved(State.RESULTS_SUBMITTED))
    assert (job.phase, job.reason) == (Phase.FAILED, "out of memory")


def test_a_deadline_that_passed_ends_the_job_whoever_notices_first():
    assert walk(make_job(Phase.SUBMITTING), SubmissionRefused("too late"))[0].phase is Phase.FAILED
    assert walk(make_job(Phase.RENDERING), moved(State.TIMEOUT_SUBMIT_RESULTS))[0].phase is Phase.FAILED


def test_a_claim_that_the_contract_refuses_leaves_the_job_unpaid():
    job, _ = walk(make_job(Phase.CLAIMING), ClaimRefused("always reverts here"))
    assert (job.phase, job.reason) == (Phase.UNPAID, "always reverts here")


def test_a_settlement_without_a_payment_is_not_called_paid():
    job, _ = walk(make_job(Phase.DISPUTED), moved(State.TIMEOUT_MEDIATE_RESULTS, paid_wei=0))
    assert job.phase is Phase.UNPAID


@pytest.mark.parametrize("phase", sorted(TERMINAL))
def test_a_terminal_job_never_moves_again(phase):
    job = make_job(phase)
    for event in HAPPY:
        assert transition(job, event) == (job, ())


@pytest.mark.parametrize(
    ("phase", "event"),
    [
        (Phase.SEEN, Published("bafy")),
        (Phase.AGREED, Published("bafy")),
        (Phase.PROPOSED, Rendered((), "class")),
        (Phase.SUBMITTED, moved(State.TIMEOUT_AGREE)),
        (Phase.AGREED, JudgeWindowPassed(1)),
    ],
)
def test_an_event_that_cannot_follow_is_a_bug_and_says_so(phase, event):
    with pytest.raises(IllegalTransition, match="j1"):
        transition(make_job(phase), event)


@pytest.mark.parametrize("phase", [Phase.SEEN, Phase.PROPOSING, Phase.PROPOSED, Phase.RENDERING])
@pytest.mark.parametrize("state", [State.RESULTS_SUBMITTED, State.RESULTS_ACCEPTED, State.MEDIATION_REJECTED])
def test_a_deal_that_somebody_else_answered_for_ends_the_job_and_not_the_node(phase, state):
    job, orders = walk(make_job(phase, deal=make_deal()), moved(state))
    assert (job.phase, orders) == (Phase.FAILED, [])
    assert "another one use its key" in str(job.reason)


@pytest.mark.parametrize(
    ("phase", "state", "ends"),
    [
        (Phase.SUBMITTING, State.RESULTS_ACCEPTED, Phase.PAID),
        (Phase.SUBMITTING, State.RESULTS_CHECKED, Phase.DISPUTED),
        (Phase.SUBMITTED, State.MEDIATION_REJECTED, Phase.REJECTED),
        (Phase.FAILING, State.RESULTS_ACCEPTED, Phase.FAILED),
    ],
)
def test_a_log_that_was_missed_stops_no_job_whose_deal_went_on(phase, state, ends):
    job, _ = walk(make_job(phase, cid="bafy"), moved(state, paid_wei=TOKEN))
    assert job.phase is ends


def test_a_draw_that_is_read_again_is_counted_once_and_keeps_its_claim():
    drawn = MediatorDrawn(MEDIATOR, POSTED_AT, block_number=7)
    job, _ = walk(make_job(Phase.SUBMITTED), moved(State.RESULTS_CHECKED), drawn)
    job, orders = walk(job, MediationWindowPassed(job.deadline + 1))
    assert orders == [EffectKind.CLAIM_MEDIATION_TIMEOUT]
    assert walk(job, moved(State.RESULTS_CHECKED), drawn) == (job, [])
    job, _ = walk(job, MediatorDrawn(MEDIATOR, POSTED_AT + 90_000, block_number=8))
    assert (job.phase, job.draws) == (Phase.DISPUTED, 2)


def test_a_hire_that_this_key_agreed_to_elsewhere_is_taken_back_when_its_time_is_over():
    hired = replace(make_job(Phase.SEEN, deal=make_deal()), job_id="h1")
    job, _ = walk(hired, ProposalMined(POSTED_AT + 2))
    assert job.phase is Phase.PROPOSED
    assert due(job, POSTED_AT + 2 + 601) == ProposalWindowPassed(POSTED_AT + 603)
