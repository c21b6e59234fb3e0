"""Published offers that lie, and hired providers that stay silent, over a real gateway and chain."""

import asyncio
import json

import pytest

from node.chain.devnet import DEPLOYER, PROVIDER, dev_signer
from node.job.deal import AgreementState, ServiceType
from node.job.offer_document import OfferDocument, signed_text, unsigned_text
from node.job.terms import PriceList, StandingTerms
from node.publisher.publish import Publisher
from node.requester import steps
from node.requester.hiring import CannotHire, NoOfferToHire
from node.requester.outcome import RunState
from node.types import JobId, Wei
from tests.fakes.provider import TOKEN
from tests.integration.requester.test_run import INPUTS, MODULE, propose, together

pytestmark = [pytest.mark.integration]
SIGNER = dev_signer(PROVIDER)


async def publish(market, *, signer=SIGNER, spoil=lambda text: text, valid_s=3600, **changes):
    """Put a signed offer of the scripted provider on its gateway and on record."""
    contracts = market.devnet.contracts
    head = await market.devnet.chain.head()
    terms = StandingTerms(
        prices=PriceList(Wei(TOKEN), Wei(TOKEN), Wei(0), 22, Wei(TOKEN)),
        agree_timeout_s=60,
        submit_timeout_s=3600,
        judge_timeout_s=86_400,
        mediate_timeout_s=86_400,
        timeout_collateral_wei=Wei(TOKEN),
        results_collateral_multiple=1,
    )
    usual = {
        "chain_id": market.devnet.chain_id,
        "controller": contracts.addresses.controller,
        "provider": SIGNER.address,
        "modules": ("v1.0-lilypad2",),
        "terms": terms,
        "mediators": (market.mediator,),
        "max_open_deals": 1,
        "valid_until": head.timestamp + valid_s,
    }
    document = OfferDocument(**usual | changes)
    text = signed_text(document, await signer.sign_message(unsigned_text(document)))
    cid = await Publisher(market.provider._store).publish_file(JobId("offer"), spoil(text))
    await market.provider._send(contracts.update_user(cid, market.gateway, [ServiceType.RESOURCE_PROVIDER]))
    if SIGNER.address not in await contracts.show_users_in_list(ServiceType.RESOURCE_PROVIDER):
        await market.provider._send(contracts.add_user_to_list(ServiceType.RESOURCE_PROVIDER))
    return document


def cheaper(text: bytes) -> bytes:
    document = json.loads(text)
    document["pricing"]["per_job"] = document["pricing"]["floor"] = "1"
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("published", "reason"),
    [
        ({"valid_s": -1}, "was good until"),
        ({"spoil": cheaper}, "not signed by its own key"),
        ({"signer": dev_signer(DEPLOYER)}, "not signed by its own key"),
        ({"spoil": lambda text: text + b" " * 5000}, "more than 4096 bytes"),
        ({"spoil": lambda text: b"[" * 4000}, "no JSON"),
        ({"chain_id": 1}, "another market"),
    ],
    ids=["stale", "changed", "forged", "oversized", "garbage", "another chain"],
)
async def test_an_offer_that_lies_is_refused_before_anything_is_posted(market, published, reason):
    await publish(market, **published)
    nonce = await market.devnet.chain.nonce(market.requester_address)
    with pytest.raises(CannotHire, match=reason):
        await market.requester().request(MODULE, INPUTS, SIGNER.address)
    with pytest.raises(NoOfferToHire):
        await market.requester(matching="hire").request(MODULE, INPUTS)
    (ignored,) = market.seen(steps.OfferIgnored)
    assert reason in ignored.reason
    assert await market.devnet.chain.nonce(market.requester_address) == nonce


async def test_a_gateway_that_serves_another_file_is_not_believed(market, monkeypatch):
    await publish(market)
    store = market.provider._store
    real = type(store).get
    monkeypatch.setattr(type(store), "get", lambda self, block_id: real(self, block_id) + b" ")
    with pytest.raises(CannotHire, match="does not have the CID"):
        await market.requester().request(MODULE, INPUTS, SIGNER.address)


async def hired(market):
    while not market.seen(steps.Hired):
        await asyncio.sleep(0.01)


async def let_time_pass(market):
    await hired(market)
    await market.devnet.rpc.call("evm_increaseTime", [61])
    await market.devnet.mine()


async def test_a_hired_provider_that_stays_silent_costs_time_and_nothing_else(market):
    await publish(market)
    before = await market.tokens(market.requester_address)
    running = market.requester().request(MODULE, INPUTS, SIGNER.address)
    outcome, _ = await together(running, let_time_pass(market))
    assert (outcome.state, outcome.exit_code) == (RunState.PROVIDER_SILENT, 1)
    assert "did not agree in time" in outcome.reason
    assert await market.tokens(market.requester_address) == before
    agreement = await market.devnet.contracts.get_agreement(outcome.deal_id)
    assert agreement.state is AgreementState.TIMEOUT_AGREE
    assert [step.returned_wei for step in market.seen(steps.HireLapsed)] == [2 * TOKEN]


async def test_after_a_silent_hire_the_job_goes_to_whoever_proposes(market):
    await publish(market)
    before = await market.tokens(market.requester_address)

    async def propose_then():
        await let_time_pass(market)
        while not market.seen(steps.HireLapsed):
            await asyncio.sleep(0.01)
        _, deal = await propose(market, price_wei=2 * TOKEN)
        while (await market.devnet.contracts.get_agreement(deal.deal_id)).state is (
            AgreementState.DEAL_NEGOTIATING
        ):
            await asyncio.sleep(0.02)
        await market.provider.submit(deal, "", 0)
        return deal

    running = market.requester(gather_s=0.0, wait_for_proposals_s=30.0).request(MODULE, INPUTS)
    outcome, deal = await together(running, propose_then())
    assert (outcome.state, outcome.deal_id) == (RunState.PROVIDER_FAILED, deal.deal_id)
    assert await market.tokens(market.requester_address) == before


async def test_a_run_broken_off_while_hired_tells_what_stands_and_goes_on(market):
    await publish(market)
    running = asyncio.create_task(market.requester().request(MODULE, INPUTS, SIGNER.address))
    await hired(market)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (started,) = market.seen(steps.Started)
    (hire,) = market.seen(steps.Hired)
    await market.devnet.rpc.call("evm_increaseTime", [61])
    await market.devnet.mine()
    outcome = await market.requester().resume(started.run_id)
    (stands,) = market.seen(steps.Resumed)
    assert (stands.number, stands.deal_id, stands.provider) == (1, hire.deal_id, SIGNER.address)
    assert (stands.state, stands.locked_wei) == (AgreementState.DEAL_NEGOTIATING, 2 * TOKEN)
    assert outcome.state is RunState.PROVIDER_SILENT
    again = await market.requester().resume(started.run_id)
    assert again.state is RunState.PROVIDER_SILENT
