"""One job is done once, whether it was proposed to, hired for, or both."""

from dataclasses import replace

import pytest

from node.engine.rivals import Rivals, undisputed
from node.errors import JobFailed
from node.job.effects import Effect, EffectKind
from node.job.events import Admitted, Declined, HireSeen, ProposalRefused, Rendered
from node.job.phase import Phase
from node.journal.records import JobRow
from tests.fakes.jobs import POSTED_AT, make_deal, make_job, make_offer

DEAL = make_deal()


def hire(phase, **changes):
    return replace(make_job(phase, deal=DEAL, **changes), job_id="h1")


def rivals(*jobs, journaled=(), signed=()):
    class Journal:
        async def job(self, job_id):
            return next((JobRow(job, 0, 0) for job in journaled if job.job_id == job_id), None)

        async def row(self, intent_id):
            return object() if intent_id in signed else None

    journal = Journal()
    return Rivals({job.job_id: job for job in jobs}.get, journal, journal)


@pytest.mark.parametrize("phase", sorted(set(Phase) - {Phase.REFUSED, Phase.LAPSED}))
async def test_a_job_we_are_hired_for_is_not_proposed_to(phase):
    assert "hired this node directly" in await rivals(hire(phase)).objection(make_job())


@pytest.mark.parametrize("phase", [Phase.REFUSED, Phase.LAPSED])
async def test_a_hire_that_came_to_nothing_keeps_nobody(phase):
    assert await rivals(hire(phase)).objection(make_job()) is None
    assert await rivals().objection(make_job()) is None


@pytest.mark.parametrize(
    ("phase", "kept"),
    [
        (Phase.PROPOSED, False),
        (Phase.REFUSED, False),
        (Phase.LAPSED, False),
        (Phase.AGREED, True),
        (Phase.SUBMITTED, True),
        (Phase.PAID, True),
        (Phase.FAILED, True),
    ],
)
async def test_a_hire_for_a_job_that_is_agreed_already_is_not_taken(phase, kept):
    objection = await rivals(journaled=[make_job(phase)]).objection(hire(Phase.SEEN))
    assert (objection is not None) == kept


async def test_a_proposal_gives_way_to_a_hire_until_it_is_signed():
    async def propose(job, effect):
        return "proposed"

    effect = Effect("j1", EffectKind.PROPOSE)
    job = make_job(Phase.PROPOSING)
    refused = await rivals(hire(Phase.SEEN)).proposing(propose)(job, effect)
    assert isinstance(refused, ProposalRefused)
    signed = rivals(hire(Phase.SEEN), signed=[effect.effect_id])
    assert await signed.proposing(propose)(job, effect) == "proposed"
    assert await rivals().proposing(propose)(job, effect) == "proposed"


@pytest.mark.parametrize(
    ("job", "other", "rendered"),
    [
        (make_job(Phase.AGREED), hire(Phase.AGREED), False),
        (hire(Phase.AGREED), make_job(Phase.AGREED), True),
        # The first one may be in the worker's queue already, whoever comes later looks last.
        (hire(Phase.AGREED, chain_block=9), make_job(Phase.AGREED, chain_block=8), False),
        (make_job(Phase.AGREED, chain_block=8), hire(Phase.AGREED, chain_block=9), True),
        (hire(Phase.AGREED), make_job(Phase.RENDERING), False),
        (make_job(Phase.AGREED), hire(Phase.RENDERING), False),
        (make_job(Phase.RENDERING), hire(Phase.AGREED), True),
        (make_job(Phase.AGREED), hire(Phase.PAID), False),
        (hire(Phase.AGREED), make_job(Phase.PROPOSED), True),
        (make_job(Phase.AGREED), hire(Phase.FAILING, failing=True), True),
        (make_job(Phase.AGREED), hire(Phase.REFUSED), True),
    ],
)
async def test_of_two_agreed_deals_for_one_job_one_is_rendered_and_one_failed_honestly(job, other, rendered):
    async def render(job, effect):
        return Rendered((), "fake")

    carry_out = rivals(other).rendering(render)
    if rendered:
        assert await carry_out(job, Effect(job.job_id, EffectKind.RENDER)) == Rendered((), "fake")
    else:
        with pytest.raises(JobFailed, match="two deals for one job"):
            await carry_out(job, Effect(job.job_id, EffectKind.RENDER))


def test_a_deal_belongs_to_the_job_that_had_it_first():
    seen = HireSeen(make_offer(), DEAL, POSTED_AT, 5)
    admitted = Admitted(DEAL, POSTED_AT + 600)
    holders = {DEAL.deal_id: "j1"}
    assert undisputed("h1", seen, holders.get) is None
    assert undisputed("h1", seen, {}.get) == seen
    assert undisputed("h1", admitted, {DEAL.deal_id: "h1"}.get) == admitted
    refused = undisputed("j1", admitted, {DEAL.deal_id: "h1"}.get)
    assert isinstance(refused, Declined)
    assert "h1" in refused.reason
    assert undisputed("j1", Declined("no"), holders.get) == Declined("no")
