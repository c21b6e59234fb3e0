from dataclasses import replace

import pytest

from node.errors import Retryable
from node.job.deal import Agreement, AgreementState
from node.job.effects import Effect, EffectKind
from node.job.events import DealIdTaken, ProposalRefused
from node.job.phase import Phase
from node.job.transactions import TxRow, TxStatus
from node.market.proposals import MAX_REVERTED_AGREEMENTS, Proposals
from tests.fakes.deals import Deals, Wallet
from tests.fakes.jobs import CONTROLLER, POSTED_AT, make_deal, make_job

PROPOSE = Effect("j1", EffectKind.PROPOSE)
WITHDRAW = Effect("j1", EffectKind.WITHDRAW)
PROPOSING = make_job(Phase.PROPOSING, deadline=POSTED_AT + 600)


class Signed(Wallet):
    """One whose transaction took a nonce before."""

    async def row(self, intent_id):
        return TxRow(intent_id, "agree", CONTROLLER, b"agree", 0, 0, TxStatus.OPEN)


def proposals(deals, wallet):
    return Proposals(deals, wallet, wallet, deals)


async def test_a_mined_proposal_leaves_the_word_to_its_confirmed_log():
    wallet = Wallet()
    assert await proposals(Deals(), wallet).agree(PROPOSING, PROPOSE) is None
    assert [intent.intent_id for intent in wallet.sent] == ["j1:propose:1"]


async def test_a_refused_proposal_tells_why():
    event = await proposals(Deals(), Wallet("Mediator twice")).agree(PROPOSING, PROPOSE)
    assert isinstance(event, ProposalRefused)
    assert "Mediator twice" in event.reason


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ("LilypadPayments: Insufficient balance", "fund the wallet"),
        ("LilypadPayments: Insufficient allowance", "wallet approve"),
        ("ERC20Pausable: token transfer while paused", "paused it"),
    ],
)
async def test_what_can_be_put_right_is_waited_for_and_told(refusal, told):
    with pytest.raises(Retryable, match=told):
        await proposals(Deals(), Wallet(refusal)).agree(PROPOSING, PROPOSE)


AGREED_BY_US = Agreement(AgreementState.DEAL_NEGOTIATING, resource_provider_agreed_at=5)


async def test_a_proposal_that_was_ours_already_is_no_failure():
    deals = Deals(deal=make_deal(), agreement=AGREED_BY_US)
    assert await proposals(deals, Signed("RP has already agreed")).agree(PROPOSING, PROPOSE) is None


async def test_a_proposal_of_a_lost_journal_is_not_waited_for():
    deals = Deals(deal=make_deal(), agreement=AGREED_BY_US)
    event = await proposals(deals, Wallet("RP has already agreed")).agree(PROPOSING, PROPOSE)
    assert isinstance(event, ProposalRefused)
    assert "not out of this data directory" in event.reason


async def test_a_deal_id_taken_by_other_terms_asks_for_another_salt():
    squatted = Deals(deal=make_deal(price_wei=1), agreement=Agreement(AgreementState.DEAL_NEGOTIATING, 5))
    assert isinstance(await proposals(squatted, Wallet("Price")).agree(PROPOSING, PROPOSE), DealIdTaken)


async def test_an_offer_that_grew_old_before_anything_was_signed_is_let_go():
    wallet = Wallet()
    event = await proposals(Deals(chain_time=POSTED_AT + 601), wallet).agree(PROPOSING, PROPOSE)
    assert isinstance(event, ProposalRefused)
    assert wallet.sent == []


async def test_a_withdrawal_that_lost_the_race_is_no_failure():
    deals = Deals(agreement=Agreement(AgreementState.DEAL_AGREED))
    job = make_job(Phase.WITHDRAWING)
    assert await proposals(deals, Wallet("Not correct state")).withdraw(job, WITHDRAW) is None


async def test_a_withdrawal_that_comes_too_early_is_asked_again():
    with pytest.raises(Retryable, match="Not timed out"):
        await proposals(Deals(), Wallet("Not timed out")).withdraw(make_job(Phase.WITHDRAWING), WITHDRAW)


async def test_a_withdrawal_that_reverts_is_tried_again_as_another_transaction_and_never_given_up():
    wallet = Wallet("out of gas", reverted=True)
    job = make_job(Phase.WITHDRAWING)
    for times in range(1, 8):
        with pytest.raises(Retryable, match="out of gas"):
            await proposals(Deals(), wallet).withdraw(job, WITHDRAW)
        assert len(wallet.sent) == times
    wallet.refusal = None
    assert await proposals(Deals(), wallet).withdraw(job, WITHDRAW) is None


async def test_a_withdrawal_that_reverted_because_the_deal_moved_on_is_not_sent_again():
    wallet, deals, job = Wallet("Not correct state", reverted=True), Deals(), make_job(Phase.WITHDRAWING)
    with pytest.raises(Retryable):
        await proposals(deals, wallet).withdraw(job, WITHDRAW)
    deals.agreement = Agreement(AgreementState.DEAL_AGREED)
    assert await proposals(deals, wallet).withdraw(job, WITHDRAW) is None
    assert len(wallet.sent) == 1


OPEN = Agreement(AgreementState.DEAL_NEGOTIATING, job_creator_agreed_at=POSTED_AT, deal_created_at=POSTED_AT)


async def take(*, chain_time=POSTED_AT + 10, refusal=None, agreement=OPEN, wallet=None, **changes):
    deals = Deals(deal=make_deal(), agreement=agreement, chain_time=chain_time)
    wallet = wallet or Wallet(refusal)
    job = replace(make_job(Phase.AGREEING, deadline=POSTED_AT + 600, **changes), job_id="h1")
    event = await proposals(deals, wallet).agree(job, Effect(job.job_id, EffectKind.AGREE))
    return event, wallet.sent


async def test_exactly_the_stored_deal_is_agreed_to_and_its_log_tells():
    event, sent = await take()
    assert event is None
    assert [(intent.intent_id, intent.call.what) for intent in sent] == [
        ("h1:agree:1", f"agree {make_deal().deal_id}")
    ]


@pytest.mark.parametrize("gone", [{"chain_time": POSTED_AT + 601}, {"orphaned": True}])
async def test_nothing_is_sent_for_a_hire_whose_time_is_over_or_whose_block_is_gone(gone):
    event, sent = await take(**gone)
    assert isinstance(event, ProposalRefused)
    assert sent == []


@pytest.mark.parametrize(
    "agreement",
    [
        replace(OPEN, state=AgreementState.DEAL_AGREED, resource_provider_agreed_at=POSTED_AT + 1),
        Agreement(AgreementState.TIMEOUT_AGREE, deal_created_at=POSTED_AT),
    ],
)
async def test_a_refusal_after_which_the_chain_tells_the_rest_is_no_failure(agreement):
    event, _ = await take(agreement=agreement, wallet=Signed("DealNegotiating"))
    assert event is None


async def test_an_empty_wallet_or_a_paused_token_is_waited_for():
    for refusal in ("LilypadPayments: Insufficient balance", "ERC20Pausable: token transfer while paused"):
        with pytest.raises(Retryable, match="has to wait"):
            await take(refusal=refusal)


async def test_any_other_refusal_is_told_with_its_reason():
    event, _ = await take(refusal="Timed out")
    assert "Timed out" in event.reason


async def test_an_agreement_that_reverted_out_of_its_turn_is_sent_again_while_it_is_wanted():
    wallet = Wallet("unknown: the call succeeds after block 14", reverted=True)
    with pytest.raises(Retryable, match="mined and reverted"):
        await take(wallet=wallet)
    wallet.refusal = None
    event, sent = await take(wallet=wallet)
    assert event is None
    assert [intent.intent_id for intent in sent] == ["h1:agree:1", "h1:agree:1:2"]


@pytest.mark.parametrize(
    "over",
    [
        {"agreement": replace(OPEN, state=AgreementState.DEAL_AGREED)},
        {"chain_time": POSTED_AT + 601},
        {"orphaned": True},
    ],
)
async def test_an_agreement_that_reverted_is_not_sent_again_when_it_is_not_wanted_any_more(over):
    wallet = Wallet("out of gas", reverted=True)
    with pytest.raises(Retryable):
        await take(wallet=wallet)
    event, sent = await take(wallet=wallet, **over)
    assert isinstance(event, ProposalRefused)
    assert len(sent) == 1


async def test_an_agreement_that_reverts_again_and_again_is_given_up():
    wallet = Wallet("out of gas", reverted=True)
    for _ in range(MAX_REVERTED_AGREEMENTS - 1):
        with pytest.raises(Retryable):
            await take(wallet=wallet)
    event, sent = await take(wallet=wallet)
    assert isinstance(event, ProposalRefused)
    assert len(sent) == MAX_REVERTED_AGREEMENTS
