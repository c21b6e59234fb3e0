"""A deal from offer to payment on a real EVM, through the bindings and the tx manager."""

import pytest

from node.chain.contracts import MarketContracts
from node.chain.devnet import ETHER, PROVIDER, REQUESTER, DevMarket, dev_signer
from node.chain.events import MARKET_TOPICS, DealStateChange, JobAdded, Payment, decode
from node.chain.logs import ConfirmedLogs
from node.chain.signer import LocalSigner
from node.chain.txmanager import Failed, Mined, TxIntent, TxManager, TxSettings
from node.clock import SystemClock
from node.job.deal import (
    AgreementState,
    Deal,
    DealMembers,
    DealPricing,
    DealTimeout,
    DealTimeouts,
    PaymentDirection,
    PaymentReason,
    ServiceType,
    deal_id_for,
)
from node.types import DealId, Wei
from tests.fakes.tx_store import MemoryTxStore

pytestmark = pytest.mark.integration
FAST = TxSettings(confirmations=0, poll_interval_s=0.02)


def manager(devnet: DevMarket, signer: LocalSigner, store: MemoryTxStore | None = None) -> TxManager:
    return TxManager(
        devnet.chain,
        signer,
        store or MemoryTxStore(),
        settings=FAST,
        clock=SystemClock(),
        chain_id=devnet.chain_id,
    )


def proposal(contracts: MarketContracts, job_number: int) -> Deal:
    members = DealMembers(
        contracts.addresses.job_manager,
        dev_signer(REQUESTER).address,
        dev_signer(PROVIDER).address,
        (dev_signer(3).address,),
    )
    day = DealTimeout(86400, Wei(ETHER))
    timeouts = DealTimeouts(DealTimeout(600, Wei(0)), day, day, DealTimeout(86400, Wei(0)))
    pricing = DealPricing(Wei(ETHER), Wei(2 * ETHER), 2, Wei(ETHER))
    deal_id = deal_id_for(contracts.place, job_number, members, timeouts, pricing, "00000001")
    return Deal(deal_id, members, timeouts, pricing)


async def test_a_deal_proposed_by_the_provider_ends_with_the_provider_one_token_richer(devnet: DevMarket):
    contracts = devnet.contracts
    provider, requester = dev_signer(PROVIDER), dev_signer(REQUESTER)
    for party in (provider, requester):
        await devnet.fund(party.address, token_wei=10 * ETHER)
    ours, theirs = manager(devnet, provider), manager(devnet, requester)
    spender = contracts.addresses.payments
    head = await devnet.chain.head()
    reader = ConfirmedLogs(
        devnet.chain,
        [contracts.addresses.job_manager, contracts.addresses.storage, contracts.addresses.payments],
        MARKET_TOPICS,
        confirmations=0,
        cursor=None,
        start_block=head.number + 1,
    )

    async def do(who: TxManager, name: str, call) -> None:
        outcome = await who.send(TxIntent(name, call))
        assert isinstance(outcome, Mined), outcome

    await do(ours, "approve", contracts.approve(spender, Wei(100 * ETHER)))
    await do(theirs, "approve", contracts.approve(spender, Wei(100 * ETHER)))
    module, inputs = "sdv-pipeline:v1.1-lilypad2", ["Prompt=a lake = calm \N{SNOWMAN}", "Seed=1"]
    await do(theirs, "post", contracts.run_job(module, inputs, requester.address))
    deal = proposal(contracts, 1)
    await do(ours, "agree", contracts.agree(deal))
    stored = await contracts.get_deal(deal.deal_id)
    assert stored == deal
    await do(theirs, "agree", contracts.agree(stored))
    await do(ours, "result", contracts.add_result(deal.deal_id, "", "bafy" + "a" * 55, 1))
    result = await contracts.get_result(deal.deal_id)
    assert result is not None
    assert (result.data_id, result.instruction_count) == ("bafy" + "a" * 55, 1)
    await do(theirs, "accept", contracts.accept_result(deal.deal_id))

    agreement = await contracts.get_agreement(deal.deal_id)
    assert agreement.state is AgreementState.RESULTS_ACCEPTED
    assert agreement.deal_agreed_at <= agreement.results_accepted_at
    assert await contracts.token_balance(provider.address) == 11 * ETHER
    assert await contracts.token_balance(requester.address) == 9 * ETHER
    assert await contracts.deal_escrow(deal.deal_id) == 0

    batch = await reader.next()
    assert batch is not None
    events = [decode(log) for log in batch.logs]
    posted = next(event for event in events if isinstance(event, JobAdded))
    assert (posted.number, posted.payee, posted.module) == (1, requester.address, module)
    assert posted.inputs == tuple(inputs)
    states = [event.state for event in events if isinstance(event, DealStateChange)]
    assert states == [
        AgreementState.DEAL_AGREED,
        AgreementState.RESULTS_SUBMITTED,
        AgreementState.RESULTS_ACCEPTED,
    ]
    paid = [
        event.amount_wei
        for event in events
        if isinstance(event, Payment)
        and (event.reason, event.direction) == (PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT)
    ]
    assert paid == [ETHER]
    assert await reader.next() is None


async def test_an_unknown_deal_is_none_and_its_agreement_has_no_times(contracts: MarketContracts):
    assert await contracts.get_deal(DealId("j1-nobody")) is None
    assert await contracts.get_result(DealId("j1-nobody")) is None
    assert await contracts.get_mediator(DealId("j1-nobody")) is None
    agreement = await contracts.get_agreement(DealId("j1-nobody"))
    assert agreement.state is AgreementState.DEAL_NEGOTIATING
    assert agreement.deal_created_at == 0


async def test_a_call_that_would_revert_fails_with_the_contracts_words_and_takes_no_nonce(devnet: DevMarket):
    requester = dev_signer(REQUESTER)
    store = MemoryTxStore()
    before = await devnet.chain.nonce(requester.address)
    call = devnet.contracts.accept_result(DealId("j9-nobody"))

    outcome = await manager(devnet, requester, store).send(TxIntent("accept", call))

    assert outcome == Failed("accept", "ResultsSubmitted", None)
    assert not store.rows
    assert await devnet.chain.nonce(requester.address) == before


async def test_a_provider_without_money_is_told_what_is_missing(devnet: DevMarket):
    provider = dev_signer(PROVIDER)
    outcome = await manager(devnet, provider).send(
        TxIntent("agree", devnet.contracts.agree(proposal(devnet.contracts, 1)))
    )
    assert isinstance(outcome, Failed)
    assert outcome.reason == "LilypadPayments: Insufficient balance"


async def test_a_published_record_is_read_back_and_listed(devnet: DevMarket):
    provider, contracts = dev_signer(PROVIDER), devnet.contracts
    sender = manager(devnet, provider)
    assert await contracts.get_user(provider.address) is None
    url, roles = "http://127.0.0.1:8480", [ServiceType.RESOURCE_PROVIDER]
    assert isinstance(
        await sender.send(TxIntent("user", contracts.update_user("bafyoffer", url, roles))), Mined
    )
    listed = await sender.send(TxIntent("list", contracts.add_user_to_list(ServiceType.RESOURCE_PROVIDER)))
    assert isinstance(listed, Mined)

    user = await contracts.get_user(provider.address)

    assert user is not None
    assert (user.metadata_cid, user.url, user.roles) == ("bafyoffer", url, tuple(roles))
    assert await contracts.show_users_in_list(ServiceType.RESOURCE_PROVIDER) == (provider.address,)
    assert await contracts.token_symbol() == "DEV"
    assert await contracts.required_deposit() == 0
