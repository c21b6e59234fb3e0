"""The one place that decides what happens next. Pure: no clock, no randomness, no settings.

A repeated or late event returns the job unchanged without effects; an event that cannot follow the phase
raises IllegalTransition, which is a bug and stops the node.
"""

from node.errors import IllegalTransition
from node.job.deal import AgreementState as State
from node.job.effects import Effect, EffectKind
from node.job.events import (
    Admitted,
    CannotDeliver,
    ClaimRefused,
    DealMoved,
    Declined,
    JobEvent,
    JudgeWindowPassed,
    MediationWindowPassed,
    MediatorDrawn,
    OfferSeen,
    ProposalMined,
    ProposalRefused,
    ProposalWindowPassed,
    Published,
    Rendered,
    RenderStarted,
    SubmissionRefused,
)
from node.job.job import Job, job_id_for
from node.job.phase import Phase
from node.types import Wei

Step = tuple[Job, tuple[Effect, ...]]


def open_job(event: OfferSeen) -> Step:
    """Return the job an offer begins with."""
    job_id = job_id_for(event.offer.number)
    job = Job(job_id=job_id, offer=event.offer, phase=Phase.SEEN)
    return job, (Effect(job_id, EffectKind.EVALUATE),)


def transition(job: Job, event: JobEvent) -> Step:
    """Return the job after the event and the orders that follow from it.

    Raises IllegalTransition for an event that can never follow this phase.
    """
    if job.phase.terminal:
        return job, ()
    match event:
        case DealMoved():
            return _deal_moved(job, event)
        case MediatorDrawn():
            return _mediator_drawn(job, event)
        case _:
            return _own_step(job, event)


def _own_step(job: Job, event: JobEvent) -> Step:
    match job.phase, event:
        case Phase.SEEN, Admitted():
            proposing = job.to(Phase.PROPOSING, deal=event.deal, deadline=event.propose_until)
            return proposing, (Effect(job.job_id, EffectKind.PROPOSE),)
        case Phase.SEEN, Declined():
            return job.to(Phase.REFUSED, reason=event.reason), ()
        case Phase.PROPOSING, ProposalMined():
            window = job.terms.timeouts.agree.timeout_s
            return job.to(Phase.PROPOSED, deadline=event.at + window), ()
        case Phase.PROPOSING, ProposalRefused():
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
            failing = job.to(Phase.FAILING, deadline=job.deadline, reason=event.reason)
            return failing, (Effect(job.job_id, EffectKind.SUBMIT_FAILURE),)
        case ((Phase.SUBMITTING | Phase.FAILING), SubmissionRefused()):
            return job.to(Phase.FAILED, reason=event.reason), ()
        case Phase.SUBMITTED, JudgeWindowPassed():
            return job.to(Phase.CLAIMING), (Effect(job.job_id, EffectKind.CLAIM_JUDGE_TIMEOUT),)
        case Phase.DISPUTED, MediationWindowPassed():
            claim = Effect(job.job_id, EffectKind.CLAIM_MEDIATION_TIMEOUT, attempt=job.draws)
            return job.to(Phase.CLAIMING), (claim,)
        case Phase.CLAIMING, ClaimRefused():
            return job.to(Phase.UNPAID, reason=event.reason), ()
        case _:
            return _repeated(job, event)


def _deal_moved(job: Job, event: DealMoved) -> Step:
    timeouts = job.terms.timeouts
    match job.phase, event.state:
        case ((Phase.PROPOSING | Phase.PROPOSED | Phase.WITHDRAWING), State.DEAL_AGREED):
            agreed = job.to(Phase.AGREED, deadline=event.at + timeouts.submit_results.timeout_s)
            return agreed, (Effect(job.job_id, EffectKind.RENDER),)
        case ((Phase.PROPOSING | Phase.PROPOSED | Phase.WITHDRAWING), State.TIMEOUT_AGREE):
            return job.to(Phase.LAPSED, reason="the requester did not agree in time"), ()
        case Phase.SUBMITTING, State.RESULTS_SUBMITTED:
            return job.to(Phase.SUBMITTED, deadline=event.at + timeouts.judge_results.timeout_s), ()
        case Phase.FAILING, State.RESULTS_SUBMITTED:
            return job.to(Phase.FAILED), ()
        case ((Phase.SUBMITTED | Phase.CLAIMING), State.RESULTS_CHECKED):
            return job.to(Phase.DISPUTED, deadline=event.at + timeouts.mediate_results.timeout_s), ()
        case (
            (Phase.SUBMITTED | Phase.CLAIMING | Phase.DISPUTED),
            (
                State.RESULTS_ACCEPTED
                | State.MEDIATION_ACCEPTED
                | State.TIMEOUT_JUDGE_RESULTS
                | State.TIMEOUT_MEDIATE_RESULTS
            ),
        ):
            return _settled(job, event)
        case ((Phase.DISPUTED | Phase.CLAIMING), State.MEDIATION_REJECTED):
            return job.to(Phase.REJECTED, reason="the mediator rejected the result"), ()
        case (
            (Phase.AGREED | Phase.RENDERING | Phase.PUBLISHING | Phase.SUBMITTING | Phase.FAILING),
            State.TIMEOUT_SUBMIT_RESULTS,
        ):
            reason = job.reason or "no result before the deadline, the requester took the collateral"
            return job.to(Phase.FAILED, reason=reason), ()
        case _:
            return _repeated(job, event)


def _settled(job: Job, event: DealMoved) -> Step:
    if event.paid_wei > 0 or job.terms.pricing.instruction_price_wei == 0:
        return job.to(Phase.PAID, paid_wei=Wei(event.paid_wei)), ()
    return job.to(Phase.UNPAID, reason=f"the deal ended as {event.state.name} without a payment"), ()


def _mediator_drawn(job: Job, event: MediatorDrawn) -> Step:
    if job.phase not in {Phase.SUBMITTED, Phase.DISPUTED, Phase.CLAIMING}:
        return _repeated(job, event)
    deadline = event.at + job.terms.timeouts.mediate_results.timeout_s
    return job.to(Phase.DISPUTED, deadline=deadline, draws=job.draws + 1), ()


ALREADY_PAST: dict[type, frozenset[Phase]] = {
    OfferSeen: frozenset(Phase),
    Admitted: frozenset(Phase) - {Phase.SEEN},
    Declined: frozenset(Phase) - {Phase.SEEN},
    ProposalMined: frozenset(Phase) - {Phase.SEEN, Phase.PROPOSING},
    ProposalRefused: frozenset(Phase) - {Phase.SEEN, Phase.PROPOSING},
    ProposalWindowPassed: frozenset(Phase) - {Phase.SEEN, Phase.PROPOSING, Phase.PROPOSED},
    RenderStarted: frozenset(Phase) - {Phase.SEEN, Phase.PROPOSING, Phase.PROPOSED, Phase.AGREED},
    Rendered: frozenset(
        {Phase.PUBLISHING, Phase.SUBMITTING, Phase.SUBMITTED, Phase.DISPUTED, Phase.CLAIMING, Phase.FAILING}
    ),
    Published: frozenset({Phase.SUBMITTING, Phase.SUBMITTED, Phase.DISPUTED, Phase.CLAIMING, Phase.FAILING}),
    CannotDeliver: frozenset(
        {Phase.SUBMITTING, Phase.SUBMITTED, Phase.DISPUTED, Phase.CLAIMING, Phase.FAILING}
    ),
    SubmissionRefused: frozenset({Phase.SUBMITTED, Phase.DISPUTED, Phase.CLAIMING}),
    JudgeWindowPassed: frozenset({Phase.DISPUTED, Phase.CLAIMING}),
    MediationWindowPassed: frozenset({Phase.CLAIMING}),
    ClaimRefused: frozenset({Phase.DISPUTED}),
}
"""In which phases an event of this kind can only be a repeat or too late."""

STATES_BEHIND: dict[Phase, frozenset[State]] = {
    Phase.PROPOSING: frozenset(),
    Phase.PROPOSED: frozenset(),
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


def _repeated(job: Job, event: JobEvent) -> Step:
    if isinstance(event, DealMoved):
        repeated = event.state in STATES_BEHIND.get(job.phase, frozenset())
    else:
        repeated = job.phase in ALREADY_PAST.get(type(event), frozenset())
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
