import pytest

from node.errors import Retryable
from node.job.deal import Agreement, AgreementState
from node.job.effects import Effect, EffectKind
from node.job.events import ProposalRefused
from node.job.phase import Phase
from node.market.proposals import Proposals
from tests.fakes.deals import Deals, Wallet
from tests.fakes.jobs import POSTED_AT, make_deal, make_job

PROPOSE = Effect("j1", EffectKind.PROPOSE)
WITHDRAW = Effect("j1", EffectKind.WITHDRAW)
PROPOSING = make_job(Phase.PROPOSING, deadline=POSTED_AT + 600)


def proposals(deals, wallet):
    return Proposals(deals, wallet, wallet, deals)


async def test_a_mined_proposal_leaves_the_word_to_its_confirmed_log():
    wallet = Wallet()
    assert await proposals(Deals(), wallet).propose(PROPOSING, PROPOSE) is None
    assert [intent.intent_id for intent in wallet.sent] == ["j1:propose:1"]


async def test_a_refused_proposal_tells_why():
    event = await proposals(Deals(), Wallet("LilypadPayments: Insufficient balance")).propose(
        PROPOSING, PROPOSE
    )
    assert isinstance(event, ProposalRefused)
    assert "Insufficient balance" in event.reason


async def test_a_proposal_that_was_ours_already_is_no_failure():
    deals = Deals(
        deal=make_deal(), agreement=Agreement(AgreementState.DEAL_NEGOTIATING, resource_provider_agreed_at=5)
    )
    assert await proposals(deals, Wallet("RP has already agreed")).propose(PROPOSING, PROPOSE) is None


async def test_a_deal_id_taken_by_other_terms_is_refused():
    squatted = Deals(deal=make_deal(price_wei=1), agreement=Agreement(AgreementState.DEAL_NEGOTIATING, 5))
    assert isinstance(await proposals(squatted, Wallet("Price")).propose(PROPOSING, PROPOSE), ProposalRefused)


async def test_an_offer_that_grew_old_before_anything_was_signed_is_let_go():
    wallet = Wallet()
    event = await proposals(Deals(chain_time=POSTED_AT + 601), wallet).propose(PROPOSING, PROPOSE)
    assert isinstance(event, ProposalRefused)
    assert wallet.sent == []


async def test_a_withdrawal_that_lost_the_race_is_no_failure():
    deals = Deals(agreement=Agreement(AgreementState.DEAL_AGREED))
    job = make_job(Phase.WITHDRAWING)
    assert await proposals(deals, Wallet("Not correct state")).withdraw(job, WITHDRAW) is None


async def test_a_withdrawal_that_comes_too_early_is_asked_again():
    with pytest.raises(Retryable, match="Not timed out"):
        await proposals(Deals(), Wallet("Not timed out")).withdraw(make_job(Phase.WITHDRAWING), WITHDRAW)
