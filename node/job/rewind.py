"""What a reorganisation means for a job: back to what the chain said at the last block that still stands.

Pure. Work that is done stays done: files, CID and the decision to fail survive, so nothing is rendered twice
when the same deal comes back in other blocks.
"""

from dataclasses import replace

from node.job.deal import Agreement
from node.job.deal import AgreementState as State
from node.job.effects import Effect, EffectKind
from node.job.events import BlocksDropped, HireSeen, JobEvent, OfferSeen, Published, Rendered
from node.job.job import Job
from node.job.phase import Phase
from node.job.terms import SALTS
from node.types import BlockNumber, Wei

Step = tuple[Job, tuple[Effect, ...]]

GONE = "the block that held the offer was dropped by a reorganisation"


def order(job: Job, kind: EffectKind) -> tuple[Effect, ...]:
    """Return one order for the job, under the id that it has for every order of this kind."""
    return (Effect(job.job_id, kind),)


def outlived(job: Job, effect: Effect) -> bool:
    """Tell whether an order was given to a life of the job that a reorganisation ended.

    A job that began anew lacks what such an order needs, and gets orders of its own when it has it again.
    """
    match effect.kind:
        case EffectKind.EVALUATE:
            return effect.attempt != job.salt
        case EffectKind.PROPOSE | EffectKind.AGREE:
            return job.deal is None or effect.attempt != job.salt
        case EffectKind.PUBLISH:
            return job.deal is None or not job.outputs
        case EffectKind.SUBMIT_RESULT:
            return job.deal is None or job.cid is None
        case _:
            return job.deal is None


def after_agreement(job: Job, deadline: int) -> Step:
    """Return the job in the phase that follows an agreed deal, given what was already done for it."""
    if job.failing:
        return job.to(Phase.FAILING, deadline=deadline), order(job, EffectKind.SUBMIT_FAILURE)
    if job.cid is not None:
        return job.to(Phase.SUBMITTING, deadline=deadline), order(job, EffectKind.SUBMIT_RESULT)
    if job.outputs:
        return job.to(Phase.PUBLISHING, deadline=deadline), order(job, EffectKind.PUBLISH)
    return job.to(Phase.AGREED, deadline=deadline), order(job, EffectKind.RENDER)


def blocks_dropped(job: Job, event: BlocksDropped) -> Step:
    """Return the job as of ``event.ancestor``; a job that rests on no dropped block stays as it is."""
    if job.chain_block <= event.ancestor:
        return job, ()
    job = replace(
        job,
        chain_block=event.ancestor,
        drawn_in=min(job.drawn_in, event.ancestor),
        rewinds=job.rewinds + 1,
        orphaned=job.orphaned or job.offer.block_number > event.ancestor,
    )
    if job.deal is None or job.phase is Phase.REFUSED:
        return _without_a_deal(job)
    if event.agreement is None or event.deal_id not in {None, job.deal.deal_id}:
        # Decided for after the chain was asked: its agreement may be on the way, and was in no block yet.
        return _at(job, Agreement(State.DEAL_NEGOTIATING))
    return _at(replace(job, paid_wei=Wei(0)), event.agreement)


def _without_a_deal(job: Job) -> Step:
    if job.orphaned and not job.phase.terminal:
        return job.to(Phase.LAPSED, reason=GONE), ()
    return job, ()


def _at(job: Job, agreement: Agreement) -> Step:
    if agreement.state is not State.RESULTS_CHECKED:
        job = replace(job, draws=0, drawn_in=BlockNumber(0))
    timeouts = job.terms.timeouts
    match agreement.state:
        case State.DEAL_NEGOTIATING:
            return _negotiating(job, agreement)
        case State.DEAL_AGREED:
            deadline = agreement.deal_agreed_at + timeouts.submit_results.timeout_s
            return after_agreement(job, deadline)
        case State.RESULTS_SUBMITTED if job.failing:
            return job.to(Phase.FAILED), ()
        case State.RESULTS_SUBMITTED:
            deadline = agreement.results_submitted_at + timeouts.judge_results.timeout_s
            return job.to(Phase.SUBMITTED, deadline=deadline, reason=None), ()
        case State.RESULTS_CHECKED:
            deadline = agreement.results_checked_at + timeouts.mediate_results.timeout_s
            return job.to(Phase.DISPUTED, deadline=deadline, reason=None), ()
        case _:
            return job, ()


def _negotiating(job: Job, agreement: Agreement) -> Step:
    if agreement.resource_provider_agreed_at:
        deadline = agreement.deal_created_at + job.terms.timeouts.agree.timeout_s
        return job.to(Phase.PROPOSED, deadline=deadline, reason=None), ()
    if job.hired and job.phase is Phase.SEEN:
        if agreement.job_creator_agreed_at:
            return job, ()
        return job.to(Phase.LAPSED, reason="the deal was dropped by a reorganisation", orphaned=True), ()
    # Our agreement was or will be sent: whoever follows its payload learns what becomes of it.
    if job.hired:
        return job.to(Phase.AGREEING, reason=None), (Effect(job.job_id, EffectKind.AGREE, job.salt),)
    return job.to(Phase.PROPOSING, reason=None), (Effect(job.job_id, EffectKind.PROPOSE, job.salt),)


def offer_again(job: Job, event: OfferSeen) -> Step:
    """Return the job after its offer appeared again, in another block than the dropped one.

    A job number may stand for another offer now: nothing is ever rendered for the dropped one then.
    """
    if not job.orphaned:
        return job, ()
    if job.phase in {Phase.REFUSED, Phase.LAPSED}:
        # The dropped deal's id may have been sent: terms that differ need another one.
        salt = job.salt if job.deal is None else job.salt + 1
        if salt > len(SALTS):
            return replace(job, orphaned=False), ()
        fresh = Job(
            job_id=job.job_id,
            offer=event.offer,
            phase=Phase.SEEN,
            salt=salt,
            rewinds=job.rewinds,
        )
        return fresh, (Effect(job.job_id, EffectKind.EVALUATE, fresh.salt),)
    same = (event.offer.requester, event.offer.spec) == (job.offer.requester, job.offer.spec)
    return (replace(job, offer=event.offer, orphaned=False), ()) if same else (job, ())


def hire_again(job: Job, event: HireSeen) -> Step:
    """Return the job after a deal that names us took the place of one that a reorganisation dropped."""
    if not job.orphaned:
        return job, ()
    if job.phase not in {Phase.LAPSED, Phase.REFUSED}:
        same = (event.deal, event.offer.spec) == (job.deal, job.offer.spec)
        return (replace(job, offer=event.offer, orphaned=False), ()) if same else (job, ())
    if job.salt >= len(SALTS):
        return job, ()
    fresh = Job(
        job_id=job.job_id,
        offer=event.offer,
        phase=Phase.SEEN,
        deal=event.deal,
        salt=job.salt + 1,
        rewinds=job.rewinds,
    )
    return fresh, (Effect(job.job_id, EffectKind.EVALUATE, fresh.salt),)


def finished_meanwhile(job: Job, event: JobEvent) -> Step:
    """Return the job after work ended that was ordered before blocks were dropped: kept, never an error."""
    match event:
        case Rendered() if not job.outputs:
            job = replace(job, outputs=event.outputs, determinism_class=event.determinism_class)
            if job.phase in {Phase.AGREED, Phase.RENDERING}:
                return job.to(Phase.PUBLISHING, deadline=job.deadline), order(job, EffectKind.PUBLISH)
        case Published() if job.cid is None and not job.failing:
            job = replace(job, cid=event.cid)
            if job.phase in {Phase.AGREED, Phase.RENDERING, Phase.PUBLISHING}:
                return job.to(Phase.SUBMITTING, deadline=job.deadline), order(job, EffectKind.SUBMIT_RESULT)
        case _:
            pass
    return job, ()
