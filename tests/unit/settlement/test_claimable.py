"""What is due to us by time alone, and when, computed from the terms of the deal."""

from dataclasses import replace

import pytest

from node.job.phase import Phase
from node.settlement.claimable import claim_of, claims_of, due_wei
from tests.fakes.jobs import MEDIATOR, POSTED_AT, PROVIDER, TOKEN, make_deal, make_job

DEAL = make_deal(price_wei=3 * TOKEN)
THREE_JUDGES = replace(DEAL, members=replace(DEAL.members, mediators=(MEDIATOR, PROVIDER, "0x" + "cd" * 20)))
T = POSTED_AT


@pytest.mark.parametrize(
    ("phase", "changes", "kind", "amount", "due_at"),
    [
        (Phase.PROPOSED, {"deadline": T}, "proposal", TOKEN, T),
        (Phase.WITHDRAWING, {}, "proposal", TOKEN, None),
        (Phase.SUBMITTED, {"deadline": T}, "judgement", 3 * TOKEN + 3 * TOKEN + TOKEN, T),
        (Phase.CLAIMING, {}, "judgement", 7 * TOKEN, None),
        (Phase.DISPUTED, {"deadline": T, "draws": 1}, "mediation", 6 * TOKEN, T),
        (Phase.CLAIMING, {"draws": 1}, "mediation", 6 * TOKEN, None),
        (
            Phase.DISPUTED,
            {"deadline": T, "draws": 1, "deal": THREE_JUDGES},
            "mediation",
            6 * TOKEN,
            T + 2 * 86_400,
        ),
    ],
)
def test_a_claim_has_its_amount_and_its_time(phase, changes, kind, amount, due_at):
    job = make_job(phase, **{"deal": DEAL} | changes)
    claim = claim_of(job, silence_has_remedy=True)
    assert (claim.kind, claim.amount_wei, claim.due_at) == (kind, amount, due_at)
    assert claim_of(job, silence_has_remedy=False) == (None if kind == "judgement" else claim)


@pytest.mark.parametrize("phase", [Phase.SEEN, Phase.AGREED, Phase.RENDERING, Phase.SUBMITTED, Phase.PAID])
def test_nothing_is_claimed_by_time_where_no_time_runs_for_us(phase):
    assert claim_of(make_job(phase), silence_has_remedy=True) is None


def test_a_claim_is_due_only_after_its_second_has_passed():
    waiting = make_job(Phase.SUBMITTED, number=1, deal=DEAL, deadline=T)
    later = make_job(Phase.PROPOSED, number=2, deal=DEAL, deadline=T + 10)
    claims = claims_of([later, waiting], silence_has_remedy=True)
    assert [claim.job_id for claim in claims] == ["j1", "j2"]
    assert due_wei(claims, T) == 0
    assert due_wei(claims, T + 1) == 7 * TOKEN
    assert due_wei(claims, T + 11) == 8 * TOKEN
