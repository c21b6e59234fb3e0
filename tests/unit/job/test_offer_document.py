"""The offer document: what is published is read back, and nothing else is taken for an offer."""

import json
from dataclasses import replace

import pytest

from node.job.deal import MarketPlace
from node.job.offer_document import (
    MAX_BYTES,
    Gpu,
    InvalidOffer,
    OfferDocument,
    read_offer,
    signed_text,
    unsigned_text,
)
from node.job.terms import PriceList, StandingTerms, binds, deal_for, price_wei
from tests.fakes.jobs import CONTROLLER, JOB_MANAGER, MEDIATOR, PROVIDER, REQUESTER, TOKEN, make_spec

SIGNATURE = bytes(range(65))
TERMS = StandingTerms(
    prices=PriceList(TOKEN, 2 * TOKEN, TOKEN // 100, 22, TOKEN),
    agree_timeout_s=600,
    submit_timeout_s=3600,
    judge_timeout_s=86_400,
    mediate_timeout_s=86_400,
    timeout_collateral_wei=TOKEN,
    results_collateral_multiple=1,
)
OFFER = OfferDocument(
    chain_id=31337,
    controller=CONTROLLER,
    provider=PROVIDER,
    modules=("v1.1-lilypad2", "v1.0-lilypad2"),
    terms=TERMS,
    mediators=(MEDIATOR,),
    max_open_deals=4,
    valid_until=1_700_000_000,
    contact_url="https://provider.example",
    gpus=(Gpu("NVIDIA H100 80GB HBM3", 85_520_809_984),),
    determinism_class="5f0c6a",
)


def published() -> dict:
    return json.loads(signed_text(OFFER, SIGNATURE))


def problems_of(document) -> list[str]:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(InvalidOffer) as caught:
        read_offer(data)
    return [problem.key for problem in caught.value.problems]


def test_what_is_published_is_read_back_with_the_text_that_was_signed():
    text = signed_text(OFFER, SIGNATURE)
    assert read_offer(text) == (OFFER, unsigned_text(OFFER), SIGNATURE)
    assert len(text) <= MAX_BYTES
    spread_out = json.dumps(json.loads(text), indent=1).encode()
    assert read_offer(spread_out) == (OFFER, unsigned_text(OFFER), SIGNATURE)


def test_the_document_holds_what_the_protocol_names_with_money_and_seconds_as_text():
    document = published()
    assert set(document) == {
        "version", "chain_id", "controller", "resource_provider", "modules", "pricing", "timeouts",
        "mediators", "max_open_deals", "valid_until", "contact_url", "gpu", "determinism_class", "signature",
    }  # fmt: skip
    assert document["modules"][0] == {
        "repo": "https://github.com/lilypad-tech/lilypad-module-sdv-pipeline",
        "commit": "25c99c5014c72a99c592134a74740caef14c9b75",
        "path": "/lilypad_module.json.tmpl",
        "tag": "v1.1-lilypad2",
    }
    assert document["pricing"]["per_job"] == str(2 * TOKEN)
    assert document["timeouts"]["judge_results"] == {"timeout": "86400", "collateral": str(TOKEN)}


def test_a_reader_computes_the_price_and_the_deal_that_the_provider_computes():
    document, _, _ = read_offer(signed_text(OFFER, SIGNATURE))
    spec = make_spec("Prompt=a", "Steps=10", "VideoSteps=5", "Batching=4")
    assert price_wei(spec, document.terms.prices) == (2 * TOKEN + (10 + 22 * 5) * TOKEN // 100) * 4
    place = MarketPlace(31337, CONTROLLER, JOB_MANAGER)
    parties = {"market": place, "job_number": 7, "requester": REQUESTER, "provider": PROVIDER}
    theirs = deal_for(spec, TERMS, mediators=(MEDIATOR, REQUESTER), **parties)
    ours = deal_for(spec, document.terms, mediators=document.mediators, **parties)
    assert theirs == ours
    assert binds(ours, place, 7)
    assert not binds(ours, place, 8)
    assert not binds(replace(ours, pricing=replace(ours.pricing, mediation_fee_wei=0)), place, 7)


def test_only_the_named_modules_are_served():
    assert OFFER.serves("sdv-pipeline:v1.0-lilypad2")
    assert not OFFER.serves("sdv-pipeline:v1.0-lilypad1")
    moved_tag = published()
    moved_tag["modules"][0]["commit"] = "0" * 40
    assert read_offer(json.dumps(moved_tag).encode())[0].modules == ("v1.0-lilypad2",)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("version", "1"),
        ("chain_id", 0),
        ("chain_id", True),
        ("controller", "0x12"),
        ("controller", CONTROLLER.upper()),
        ("resource_provider", "0x" + "0" * 40),
        ("modules", {}),
        ("modules", [{}] * 65),
        ("pricing", None),
        ("timeouts", []),
        ("mediators", []),
        ("mediators", [MEDIATOR, MEDIATOR]),
        ("mediators", [MEDIATOR] * 9),
        ("max_open_deals", 0),
        ("valid_until", -1),
        ("valid_until", 2**60),
        ("contact_url", "https://x\x1b[2J"),
        ("contact_url", "x" * 257),
        ("gpu", [{"name": 5, "vram": 1}]),
        ("determinism_class", "a b"),
        ("signature", "0x12"),
        ("signature", None),
    ],
)
def test_a_field_that_makes_no_sense_is_named(key, value):
    found = problems_of(published() | {key: value})
    assert found
    assert all(name.startswith(key) for name in found)


@pytest.mark.parametrize("value", ["-1", "01", "1e3", 5, None, "", str(2**128), "٣"])
def test_an_amount_is_a_decimal_number_as_text_within_bounds(value):
    document = published()
    document["pricing"]["per_job"] = value
    assert problems_of(document) == ["pricing.per_job"]


def test_the_collateral_of_both_sides_is_the_same_and_the_rest_is_free():
    document = published()
    document["timeouts"]["agree"]["collateral"] = "1"
    document["timeouts"]["judge_results"]["collateral"] = "2"
    assert problems_of(document) == ["timeouts.agree.collateral", "timeouts.judge_results.collateral"]


def test_every_problem_is_named_at_once_and_is_safe_to_print():
    document = published() | {"version": 9, "chain_id": "x\x1b[2J", "surprise": 1}
    del document["mediators"]
    with pytest.raises(InvalidOffer) as caught:
        read_offer(json.dumps(document).encode())
    assert [problem.key for problem in caught.value.problems] == [
        "'surprise'",
        "version",
        "chain_id",
        "mediators",
    ]
    assert str(caught.value).isprintable()
    assert "mediators=missing" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 4000,
        b'{"a":' * 800,
        b'{"version":1,"version":1}',
        b'{"version":1.0}',
        b'{"version":NaN}',
        b" " * (MAX_BYTES + 1),
    ],
)
def test_what_is_no_small_object_of_whole_numbers_is_refused(data):
    assert problems_of(data) == ["offer"]


def test_a_document_that_readers_would_refuse_is_not_published():
    with pytest.raises(InvalidOffer, match="too long"):
        signed_text(replace(OFFER, gpus=tuple(Gpu("x" * 64 + str(n), 1) for n in range(50))), SIGNATURE)
    with pytest.raises(InvalidOffer, match="mediators"):
        signed_text(replace(OFFER, mediators=()), SIGNATURE)
