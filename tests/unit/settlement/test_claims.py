import pytest

from node.chain.rules import POOLED_RULES, SOUND_RULES
from node.errors import Retryable
from node.job.deal import Agreement, AgreementState
from node.job.effects import Effect, EffectKind
from node.job.events import ClaimRefused, NoRemedy
from node.job.phase import Phase
from node.settlement.claims import MAX_REVERTED_CLAIMS, Claims
from tests.fakes.deals import Deals, Wallet
from tests.fakes.jobs import make_job

JUDGE = Effect("j1", EffectKind.CLAIM_JUDGE_TIMEOUT)
MEDIATE = Effect("j1", EffectKind.CLAIM_MEDIATION_TIMEOUT)
CLAIMING = make_job(Phase.CLAIMING)
CHECKED = Agreement(AgreementState.RESULTS_CHECKED)
SUBMITTED = Agreement(AgreementState.RESULTS_SUBMITTED)


def sound_claims(wallet: Wallet, agreement: Agreement | None = None) -> Claims:
    return Claims(Deals(agreement=agreement), wallet, SOUND_RULES)


@pytest.mark.parametrize("refusal", ["Not timed out", "the wallet holds 3 for gas and needs 5: send some"])
async def test_a_claim_that_was_not_sent_is_asked_again_and_never_given_up(refusal):
    with pytest.raises(Retryable, match=refusal):
        await Claims(Deals(agreement=SUBMITTED), Wallet(refusal), SOUND_RULES).claim_judge_timeout(
            CLAIMING, JUDGE
        )


async def test_a_claim_overtaken_by_the_requester_is_no_failure():
    accepted = Agreement(AgreementState.RESULTS_ACCEPTED)
    claims = sound_claims(Wallet("Not correct state"), accepted)
    assert await claims.claim_judge_timeout(CLAIMING, JUDGE) is None


async def test_a_claim_that_reverts_is_tried_again_as_another_transaction_and_then_given_up():
    wallet = Wallet("no reason given", reverted=True)
    claims = sound_claims(wallet, CHECKED)
    job = make_job(Phase.CLAIMING, draws=1)
    for _ in range(MAX_REVERTED_CLAIMS - 1):
        with pytest.raises(Retryable, match="no reason given"):
            await claims.claim_mediation_timeout(job, MEDIATE)
    for _ in range(2):
        event = await claims.claim_mediation_timeout(job, MEDIATE)
        assert isinstance(event, ClaimRefused)
        assert "no reason given" in event.reason
        assert len(wallet.sent) == MAX_REVERTED_CLAIMS


@pytest.mark.parametrize("phase", [Phase.DISPUTED, Phase.PAID])
async def test_a_claim_whose_job_moved_on_while_it_waited_sends_nothing(phase):
    wallet = Wallet()
    job = make_job(phase, draws=1)
    assert await sound_claims(wallet).claim_judge_timeout(job, JUDGE) is None
    assert await sound_claims(wallet).claim_mediation_timeout(job, MEDIATE) is None
    assert wallet.sent == []


async def test_the_claim_of_an_earlier_mediator_is_not_sent_for_a_later_one():
    wallet = Wallet()
    job = make_job(Phase.CLAIMING, draws=2)
    assert await sound_claims(wallet, CHECKED).claim_mediation_timeout(job, MEDIATE) is None
    assert wallet.sent == []


async def test_where_silence_has_no_remedy_the_claim_is_not_sent_and_the_deal_waits():
    wallet = Wallet()
    event = await Claims(Deals(agreement=SUBMITTED), wallet, POOLED_RULES).claim_judge_timeout(
        CLAIMING, JUDGE
    )
    assert event == NoRemedy("waiting for counterparty, no on-chain remedy")
    assert wallet.sent == []


async def test_the_mediators_silence_has_a_remedy_everywhere():
    wallet = Wallet()
    job = make_job(Phase.CLAIMING, draws=1)
    assert await Claims(Deals(), wallet, POOLED_RULES).claim_mediation_timeout(job, MEDIATE) is None
    assert [intent.call.what for intent in wallet.sent] == ["timeoutMediateResult"]
