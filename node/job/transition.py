"""The one place that decides what happens next. Pure: no clock, no randomness, no settings.

A repeated or late event returns the job unchanged without effects; an event that cannot follow the phase
raises IllegalTransition, which is a bug and stops the node.
"""

from dataclasses import replace

from node.errors import IllegalTransition
from node.job.deal import AgreementState as State
from node.job.effects import Effect, EffectKind
from node.job.events import (
    Admitted,
    BlocksDropped,
    CannotDeliver,
    ClaimRefused,
    DealIdTaken,
    DealMoved,
    Declined,
    EscrowDrained,
    HireSeen,
    JobEvent,
    JudgeWindowPassed,
    MediationWindowPassed,
    MediatorDrawn,
    NoRemedy,
    OfferSeen,
    ProposalMined,
    ProposalRefused,
    ProposalWindowPassed,
    Published,
    Rendered,
    RenderStarted,
    SubmissionRefused,
)
from node.job.job import Job, hire_id_for, job_id_for
from node.job.phase import NEGOTIATING, WORKING, Phase
from node.job.rewind import Step, after_agreement, blocks_dropped, finished_meanwhile, hire_again, offer_again
from node.job.terms import SALTS
from node.types import BlockNumber, Wei


def open_job(event: OfferSeen | HireSeen) -> Step:
    """Return the job that an offer, or a deal naming us, begins with."""
    match event:
        case OfferSeen():
            job_id = job_id_for(event.offer.number)
            job = Job(job_id, event.offer, Phase.SEEN, chain_block=event.offer.block_number)
        case HireSeen():
            job_id = hire_id_for(event.offer.number)
            job = Job(job_id, event.offer, Phase.SEEN, event.deal, chain_block=event.block_number)
    return job, (Effect(job_id, EffectKind.EVALUATE),)


def transition(job: Job, event: JobEvent) -> Step:
    """Return the job after the event and the orders that follow from it.

    Raises IllegalTransition for an event that can never follow this phase.
    """
    match event:
        case BlocksDropped():
            return blocks_dropped(job, event)
        case OfferSeen():
            return _resting_on(event.offer.block_number, job, offer_again(job, event))
        case HireSeen():
            return _resting_on(event.block_number, job, hire_again(job, event))
        case _ if job.phase.terminal:
            return job, ()
        case DealMoved():
            return _resting_on(event.block_number, job, _deal_moved(job, event))
        case MediatorDrawn():
            return _resting_on(event.block_number, job, _mediator_drawn(job, event))
        case ProposalMined():
            return _resting_on(event.block_number, job, _own_step(job, event))
        case _:
            return _own_step(job, event)


def _resting_on(block_number: BlockNumber, before: Job, step: Step) -> Step:
    after, effects = step
    if after == before:
        return step
    return replace(after, chain_block=max(after.chain_block, block_number)), effects


def _own_step(job: Job, event: JobEvent) -> Step:
    match job.phase, event:
        case Phase.SEEN, Admitted() if job.hired:
            agreeing = job.to(Phase.AGREEING, deadline=event.propose_until)
            return agreeing, (Effect(job.job_id, EffectKind.AGREE, job.salt),)
        case Phase.SEEN, Admitted():
            proposing = job.to(Phase.PROPOSING, deal=event.deal, deadline=event.propose_until)
            return proposing, (Effect(job.job_id, EffectKind.PROPOSE, job.salt),)
        case Phase.SEEN, Declined():
            return job.to(Phase.REFUSED, reason=event.reason), ()
        case ((Phase.PROPOSING | Phase.AGREEING), ProposalMined()):
            return _proposed(job, event)
        case Phase.SEEN, ProposalMined() if job.hired:
            # Agreed to with this key, but not by this journal: the collateral is ours to take back.
            return _proposed(job, event)
        case ((Phase.PROPOSING | Phase.AGREEING), ProposalRefused()):
            return job.to(Phase.REFUSED, reason=event.reason), ()
        case Phase.PROPOSING, DealIdTaken() if job.salt < len(SALTS):
            salted = job.to(Phase.SEEN, deal=None, salt=job.salt + 1)
            return salted, (Effect(job.job_id, EffectKind.EVALUATE, salted.salt),)
        case Phase.PROPOSING, DealIdTaken():
            return job.to(Phase.REFUSED, reason=event.reason), ()
        case Phase.PROPOSED, ProposalWindowPassed():
            return job.to(Phase.WITHDRAWING), (Effect(job.job_id, EffectKind.WITHDRAW),)
        case Phase.AGREED, RenderStarted():
            return job.to(Phase.RENDERING, deadline=job.deadline), ()
        case Phase.RENDERING, Rendered():
            rendered = job.to(
                Phase.PUBLISHING,
                deadline=job.deadline,
                outputs=event.outputs,
                determinism_class=event.determinism_class,
            )
            return rendered, (Effect(job.job_id, EffectKind.PUBLISH),)
        case Phase.PUBLISHING, Published():
            published = job.to(Phase.SUBMITTING, deadline=job.deadline, cid=event.cid)
            return published, (Effect(job.job_id, EffectKind.SUBMIT_RESULT),)
        case ((Phase.AGREED | Phase.RENDERING | Phase.PUBLISHING), CannotDeliver()):
            return _failing(job, event.reason)
        case ((Phase.AGREED | Phase.RENDERING | Phase.PUBLISHING | Phase.SUBMITTING), EscrowDrained()):
            return _failing(job, event.reason)
        case ((Phase.SUBMITTING | Phase.FAILING), SubmissionRefused()):
            return job.to(Phase.FAILED, reason=event.reason), ()
        case Phase.SUBMITTED, JudgeWindowPassed():
            return job.to(Phase.CLAIMING), (Effect(job.job_id, EffectKind.CLAIM_JUDGE_TIMEOUT),)
        case Phase.DISPUTED, MediationWindowPassed():
            claim = Effect(job.job_id, EffectKind.CLAIM_MEDIATION_TIMEOUT, attempt=job.draws)
            return job.to(Phase.CLAIMING), (claim,)
        case Phase.CLAIMING, ClaimRefused():
            return job.to(Phase.UNPAID, reason=event.reason), ()
        case Phase.CLAIMING, NoRemedy():
            return job.to(Phase.SUBMITTED, reason=event.reason), ()
        case _:
            return _repeated(job, event)


def _proposed(job: Job, event: ProposalMined) -> Step:
    # A hire gets here when its own agreement came back after a reorganisation and ours came first.
    return job.to(Phase.PROPOSED, deadline=event.at + job.terms.timeouts.agree.timeout_s), ()


def _failing(job: Job, reason: str) -> Step:
    failing = job.to(Phase.FAILING, deadline=job.deadline, reason=reason, failing=True)
    return failing, (Effect(job.job_id, EffectKind.SUBMIT_FAILURE),)


def _deal_moved(job: Job, event: DealMoved) -> Step:
    timeouts = job.terms.timeouts
    match job.phase, event.state:
        case phase, State.DEAL_AGREED if phase in NEGOTIATING:
            deadline = event.at + timeouts.submit_results.timeout_s
            if job.orphaned and not job.failing:
                reason = "the job's inputs changed in a reorganisation after the deal was proposed"
                return _failing(replace(job, deadline=deadline), reason)
            return after_agreement(job, deadline)
        case phase, State.TIMEOUT_AGREE if phase in NEGOTIATING:
            who = "this node" if job.hired else "the requester"
            return job.to(Phase.LAPSED, reason=f"{who} did not agree in time"), ()
        case Phase.SUBMITTING, State.RESULTS_SUBMITTED:
            return job.to(Phase.SUBMITTED, deadline=event.at + timeouts.judge_results.timeout_s), ()
        case Phase.FAILING, state if state in SUBMITTED_OR_LATER:
            return job.to(Phase.FAILED), ()
        case Phase.CLAIMING, State.RESULTS_CHECKED if job.draws:
            return _repeated(job, event)
        case ((Phase.SUBMITTING | Phase.SUBMITTED | Phase.CLAIMING), State.RESULTS_CHECKED):
            return job.to(Phase.DISPUTED, deadline=event.at + timeouts.mediate_results.timeout_s), ()
        case (
            (Phase.SUBMITTING | Phase.SUBMITTED | Phase.CLAIMING | Phase.DISPUTED),
            (
                State.RESULTS_ACCEPTED
                | State.MEDIATION_ACCEPTED
                | State.TIMEOUT_JUDGE_RESULTS
                | State.TIMEOUT_MEDIATE_RESULTS
            ),
        ):
            return _settled(job, event)
        case (
            (Phase.SUBMITTING | Phase.SUBMITTED | Phase.DISPUTED | Phase.CLAIMING),
            State.MEDIATION_REJECTED,
        ):
            return job.to(Phase.REJECTED, reason="the mediator rejected the result"), ()
        case (
            (Phase.AGREED | Phase.RENDERING | Phase.PUBLISHING | Phase.SUBMITTING | Phase.FAILING),
            State.TIMEOUT_SUBMIT_RESULTS,
        ):
            reason = job.reason or "no result before the deadline, the requester took the collateral"
            return job.to(Phase.FAILED, reason=reason), ()
        case phase, state if phase in NOTHING_SUBMITTED and state not in STATES_BEHIND[phase]:
            # Only this node's key moves such a deal: somebody else has it, or an older journal of ours had.
            reason = f"the deal went to {state.name} without this node; does another one use its key?"
            return job.to(Phase.FAILED, reason=reason), ()
        case _:
            return _repeated(job, event)


NOTHING_SUBMITTED = NEGOTIATING | WORKING
"""Phases in which no result of this node can be on chain."""

SUBMITTED_OR_LATER = frozenset(State) - {
    State.DEAL_NEGOTIATING,
    State.DEAL_AGREED,
    State.TIMEOUT_AGREE,
    State.TIMEOUT_SUBMIT_RESULTS,
}


def _settled(job: Job, event: DealMoved) -> Step:
    if event.paid_wei > 0 or job.terms.pricing.instruction_price_wei == 0:
        return job.to(Phase.PAID, paid_wei=Wei(event.paid_wei)), ()
    return job.to(Phase.UNPAID, reason=f"the deal ended as {event.state.name} without a payment"), ()


def _mediator_drawn(job: Job, event: MediatorDrawn) -> Step:
    if job.phase not in {Phase.SUBMITTED, Phase.DISPUTED, Phase.CLAIMING}:
        return _repeated(job, event)
    if job.draws and event.block_number and event.block_number <= job.drawn_in:
        return job, ()
    deadline = event.at + job.terms.timeouts.mediate_results.timeout_s
    drawn = job.to(Phase.DISPUTED, deadline=deadline, draws=job.draws + 1, drawn_in=event.block_number)
    return drawn, ()


ALREADY_PAST: dict[type, frozenset[Phase]] = {
    Admitted: frozenset(Phase) - {Phase.SEEN},
    Declined: frozenset(Phase) - {Phase.SEEN},
    ProposalMined: frozenset(Phase) - {Phase.SEEN, Phase.PROPOSING, Phase.AGREEING},
    ProposalRefused: frozenset(Phase) - {Phase.SEEN, Phase.PROPOSING, Phase.AGREEING},
    DealIdTaken: frozenset(Phase) - {Phase.SEEN, Phase.PROPOSING},
    ProposalWindowPassed: frozenset(Phase) - {Phase.SEEN, Phase.PROPOSING, Phase.AGREEING, Phase.PROPOSED},
    RenderStarted: frozenset(Phase)
    - {Phase.SEEN, Phase.PROPOSING, Phase.AGREEING, Phase.PROPOSED, Phase.AGREED},
    Rendered: frozenset(
        {Phase.PUBLISHING, Phase.SUBMITTING, Phase.SUBMITTED, Phase.DISPUTED, Phase.CLAIMING, Phase.FAILING}
    ),
    Published: frozenset({Phase.SUBMITTING, Phase.SUBMITTED, Phase.DISPUTED, Phase.CLAIMING, Phase.FAILING}),
    CannotDeliver: frozenset(
        {Phase.SUBMITTING, Phase.SUBMITTED, Phase.DISPUTED, Phase.CLAIMING, Phase.FAILING}
    ),
    EscrowDrained: frozenset({Phase.FAILING, Phase.SUBMITTED, Phase.DISPUTED, Phase.CLAIMING}),
    SubmissionRefused: frozenset({Phase.SUBMITTED, Phase.DISPUTED, Phase.CLAIMING}),
    JudgeWindowPassed: frozenset({Phase.DISPUTED, Phase.CLAIMING}),
    MediationWindowPassed: frozenset({Phase.CLAIMING}),
    ClaimRefused: frozenset({Phase.DISPUTED}),
    NoRemedy: frozenset({Phase.SUBMITTED, Phase.DISPUTED}),
}
"""In which phases an event of this kind can only be a repeat or too late."""

STATES_BEHIND: dict[Phase, frozenset[State]] = {
    Phase.SEEN: frozenset(),
    Phase.PROPOSING: frozenset(),
    Phase.PROPOSED: frozenset(),
    Phase.AGREEING: frozenset(),
    Phase.WITHDRAWING: frozenset(),
    Phase.AGREED: frozenset({State.DEAL_AGREED}),
    Phase.RENDERING: frozenset({State.DEAL_AGREED}),
    Phase.PUBLISHING: frozenset({State.DEAL_AGREED}),
    Phase.SUBMITTING: frozenset({State.DEAL_AGREED}),
    Phase.FAILING: frozenset({State.DEAL_AGREED}),
    Phase.SUBMITTED: frozenset({State.DEAL_AGREED, State.RESULTS_SUBMITTED}),
    Phase.DISPUTED: frozenset({State.DEAL_AGREED, State.RESULTS_SUBMITTED, State.RESULTS_CHECKED}),
    Phase.CLAIMING: frozenset({State.DEAL_AGREED, State.RESULTS_SUBMITTED}),
}
"""Which contract states a job in this phase has already left behind or stands in."""


def states_behind(job: Job) -> frozenset[State] | None:
    """Return the contract states that are no news for a job, None for one that waits for none."""
    known = STATES_BEHIND.get(job.phase)
    if known is not None and job.phase is Phase.CLAIMING and job.draws:
        return known | {State.RESULTS_CHECKED}
    return known


def _repeated(job: Job, event: JobEvent) -> Step:
    if isinstance(event, DealMoved):
        repeated = event.state in (states_behind(job) or frozenset())
    else:
        repeated = job.phase in ALREADY_PAST.get(type(event), frozenset())
        if not repeated and job.rewinds:
            return finished_meanwhile(job, event)
    if repeated:
        return job, ()
    raise IllegalTransition(f"{job.job_id}: {event} cannot follow phase {job.phase}; please report this")


def due(job: Job, chain_time: int) -> JobEvent | None:
    """Return the event that a waiting job owes to the passing of chain time, if any.

    The contracts call a deadline passed when block time is strictly greater than it.
    """
    if job.deadline is None or chain_time <= job.deadline:
        return None
    match job.phase:
        case Phase.PROPOSED:
            return ProposalWindowPassed(chain_time)
        case Phase.SUBMITTED:
            return JudgeWindowPassed(chain_time)
        case Phase.DISPUTED:
            return MediationWindowPassed(chain_time)
        case _:
            return None
