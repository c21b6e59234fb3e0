"""Which published offers may be hired on, and which one is best."""

import json
from dataclasses import replace

import pytest

from node.chain.devnet import PROVIDER as PROVIDER_KEY
from node.chain.devnet import dev_signer
from node.chain.events import DealStateChange, LogRef, Payment
from node.destinations import Reach
from node.job.deal import AgreementState, PaymentDirection, PaymentReason
from node.job.offer_document import signed_text, unsigned_text
from node.job.spec import parse_inputs
from node.requester.offers import NoOffer, Offer, OfferReader, hire_deal, ranked
from node.requester.proposals import Limits, Request
from node.requester.track_record import TrackRecord, fold
from node.types import Address, DealId, Wei
from tests.fakes.requester_market import MEDIATOR, REQUESTER, TOKEN
from tests.unit.job.test_offer_document import OFFER
from tests.unit.requester.conftest import INPUTS, MODULE

SIGNER = dev_signer(PROVIDER_KEY)
SPEC = parse_inputs(MODULE, INPUTS)
MOST = Wei(20 * TOKEN)
OTHER = Address("0x" + "77" * 20)


@pytest.fixture
def publish(scene):
    async def write(signer=SIGNER, *, listed=None, text=None, **changes):
        place = scene.market.place
        usual = {"chain_id": place.chain_id, "controller": place.controller, "mediators": (MEDIATOR,)}
        usual |= {"provider": signer.address, "valid_until": scene.market.now + 1000}
        offer = replace(OFFER, **usual | changes)
        signature = await signer.sign_message(unsigned_text(offer))
        provider = listed or signer.address
        cid = f"bafy-offer-{len(scene.delivery.documents)}"
        scene.delivery.documents[cid] = text or signed_text(offer, signature)
        scene.market.offers[provider] = cid
        return offer

    return write


@pytest.fixture
def reader(scene):
    def make(**limits):
        return OfferReader(
            chain=scene.market,
            contracts=scene.market,
            documents=scene.delivery,
            requester=REQUESTER,
            limits=Limits(Wei(50 * TOKEN), **limits),
            reach=Reach.PUBLIC,
            on_step=scene.steps.append,
        )

    return make


async def test_a_signed_fresh_offer_for_the_module_gives_a_price(publish, reader):
    offer = await publish()
    found = await reader().of(SIGNER.address, SPEC, MOST)
    steps = SPEC.steps + 22 * SPEC.video_steps
    assert found.document == offer
    assert found.price_wei == 2 * TOKEN + steps * TOKEN // 100
    assert found.locked_wei == found.price_wei + TOKEN


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"valid_until": 1_700_000_000 - 5}, "was good until"),
        ({"chain_id": 1}, "another market"),
        ({"controller": OTHER}, "another market"),
        ({"provider": OTHER}, "not signed by its own key"),
        ({"modules": ("v1.0-lilypad1",)}, "does not offer sdv-pipeline:v1.1-lilypad2"),
        ({"mediators": (SIGNER.address,)}, "names no mediator"),
        ({"terms": replace(OFFER.terms, submit_timeout_s=10**7)}, "submitResults timeout"),
        ({"terms": replace(OFFER.terms, timeout_collateral_wei=Wei(99 * TOKEN))}, "collateral"),
        (
            {"terms": replace(OFFER.terms, prices=replace(OFFER.terms.prices, floor_wei=Wei(21 * TOKEN)))},
            "price of 21 is above",
        ),
    ],
)
async def test_an_offer_that_cannot_be_hired_on_is_refused_with_its_reason(publish, reader, changes, reason):
    await publish(**changes)
    with pytest.raises(NoOffer, match=reason):
        await reader().of(SIGNER.address, SPEC, MOST)


async def test_an_offer_that_somebody_else_signed_or_changed_is_none(publish, reader, scene):
    await publish(dev_signer(0), listed=SIGNER.address, provider=SIGNER.address)
    with pytest.raises(NoOffer, match="not signed"):
        await reader().of(SIGNER.address, SPEC, MOST)
    await publish()
    (cid,) = [cid for provider, cid in scene.market.offers.items() if provider == SIGNER.address]
    document = json.loads(scene.delivery.documents[cid])
    document["pricing"]["per_job"] = "1"
    scene.delivery.documents[cid] = json.dumps(document).encode()
    with pytest.raises(NoOffer, match="not signed"):
        await reader().of(SIGNER.address, SPEC, MOST)


async def test_what_is_no_document_or_is_not_there_is_no_offer(publish, reader, scene):
    await publish(text=b"[" * 4000)
    with pytest.raises(NoOffer, match="not valid"):
        await reader().of(SIGNER.address, SPEC, MOST)
    scene.delivery.documents.clear()
    with pytest.raises(NoOffer, match="cannot be had"):
        await reader().of(SIGNER.address, SPEC, MOST)
    scene.market.offers.clear()
    with pytest.raises(NoOffer, match="no offer"):
        await reader().of(SIGNER.address, SPEC, MOST)
    scene.market.url = "file:///etc/passwd"
    scene.market.offers[SIGNER.address] = "bafy"
    with pytest.raises(NoOffer, match="http"):
        await reader().of(SIGNER.address, SPEC, MOST)


async def test_all_listed_offers_are_looked_at_and_every_one_left_out_is_told(publish, reader, scene):
    await publish()
    cheaper = replace(OFFER.terms, prices=replace(OFFER.terms.prices, per_step_wei=Wei(0)))
    await publish(dev_signer(0), terms=cheaper)
    await publish(dev_signer(1), valid_until=5)
    await publish(dev_signer(2))
    found = await reader().all(
        SPEC, MOST, without=(dev_signer(2).address,), track_records={SIGNER.address: TrackRecord(3, 4)}
    )
    assert [offer.provider for offer in found] == [dev_signer(0).address, SIGNER.address]
    assert found[1].record == TrackRecord(3, 4)
    assert [(type(step).__name__, step.provider) for step in scene.steps] == [
        ("OfferIgnored", dev_signer(1).address),
        ("OfferFound", dev_signer(0).address),
        ("OfferFound", SIGNER.address),
    ]


def test_price_comes_first_then_the_record():
    def offer(name, price, record=None):
        return Offer(Address(name), OFFER, Wei(price), Wei(price), record)

    offers = [
        offer("new", 2),
        offer("dear", 3, TrackRecord(9, 9)),
        offer("sometimes", 2, TrackRecord(1, 2)),
        offer("always", 2, TrackRecord(5, 5)),
        offer("often", 2, TrackRecord(9, 9)),
    ]
    assert [found.provider for found in ranked(offers)] == ["often", "always", "sometimes", "new", "dear"]


def test_only_mediators_of_ours_judge_and_never_a_party(scene):
    document = replace(OFFER, mediators=(OTHER, MEDIATOR, REQUESTER))
    request = Request(scene.market.place, 7, REQUESTER)
    assert hire_deal(document, SPEC, request, Limits(Wei(1))).members.mediators == (OTHER, MEDIATOR)
    ours = Limits(Wei(1), mediators=frozenset({MEDIATOR}))
    assert hire_deal(document, SPEC, request, ours).members.mediators == (MEDIATOR,)


def test_a_record_counts_the_deals_that_ended_and_those_that_were_paid():
    ref = LogRef(1, "0x", "0x", 0)
    paid_in, paid_out = PaymentDirection.PAID_IN, PaymentDirection.PAID_OUT

    def deal(name, *, end=None, paid=0):
        deal_id = DealId(name)
        yield Payment(ref, deal_id, SIGNER.address, Wei(1), PaymentReason.TIMEOUT_COLLATERAL, paid_in)
        yield Payment(ref, deal_id, REQUESTER, Wei(1), PaymentReason.PAYMENT_COLLATERAL, paid_in)
        yield Payment(ref, deal_id, REQUESTER, Wei(1), PaymentReason.TIMEOUT_COLLATERAL, paid_in)
        yield DealStateChange(ref, deal_id, AgreementState.DEAL_AGREED)
        if end is not None:
            yield DealStateChange(ref, deal_id, end)
        if paid:
            yield Payment(ref, deal_id, SIGNER.address, Wei(paid), PaymentReason.JOB_PAYMENT, paid_out)

    proposal = Payment(ref, DealId("x"), OTHER, Wei(1), PaymentReason.TIMEOUT_COLLATERAL, paid_in)
    events = [
        *deal("a", end=AgreementState.RESULTS_ACCEPTED, paid=5),
        *deal("failed", end=AgreementState.RESULTS_ACCEPTED),
        *deal("silent", end=AgreementState.TIMEOUT_SUBMIT_RESULTS),
        *deal("running"),
        proposal,
        None,
    ]
    assert fold(events) == {SIGNER.address: TrackRecord(1, 3)}
