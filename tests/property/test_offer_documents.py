"""Whatever a stranger publishes as an offer is one or is refused with words; prices agree on both sides."""

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from node.job.offer_document import InvalidOffer, read_offer, signed_text, unsigned_text
from node.job.terms import PriceList, StandingTerms, price_wei
from tests.fakes.jobs import make_spec
from tests.unit.job.test_offer_document import OFFER, SIGNATURE

TEXT = signed_text(OFFER, SIGNATURE)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
AMOUNTS = st.integers(min_value=0, max_value=10**24)


def paths(document, at=()):
    """Every place in a document, the document itself left out."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        yield (*at, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*at, key))


PATHS = list(paths(json.loads(TEXT)))


def read(data: bytes) -> None:
    refused = None
    try:
        document, text, signature = read_offer(data)
    except InvalidOffer as error:
        refused = error
    if refused is not None:
        assert refused.problems
        assert str(refused).isprintable()
        return
    # What is taken can be published again as it was read: nothing in it escaped the checks.
    assert read_offer(signed_text(document, signature))[0] == document
    assert json.loads(text).keys() == json.loads(unsigned_text(document)).keys()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PATHS), JSON)
def test_any_value_in_any_place_is_read_or_refused_in_words(path, value):
    document = json.loads(TEXT)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    read(json.dumps(document).encode())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_bytes_that_are_cut_flipped_or_repeated_are_read_or_refused_in_words(data):
    at = data.draw(st.integers(0, len(TEXT) - 1))
    kind = data.draw(st.sampled_from(["cut", "flip", "repeat"]))
    if kind == "cut":
        read(TEXT[:at])
    elif kind == "flip":
        read(TEXT[:at] + bytes([data.draw(st.integers(0, 255))]) + TEXT[at + 1 :])
    else:
        end = data.draw(st.integers(at, len(TEXT)))
        read(TEXT[:end] + TEXT[at:])


@settings(max_examples=200, deadline=None)
@given(AMOUNTS, AMOUNTS, AMOUNTS, st.integers(0, 1000), st.integers(5, 200), st.sampled_from([1, 2, 4, 8]))
def test_a_price_read_from_a_document_is_the_price_of_its_provider(floor, job, step, weight, steps, stills):
    terms = StandingTerms(PriceList(floor, job, step, weight, 1), 600, 3600, 86_400, 86_400, 1, 1)
    offer = replace(OFFER, terms=terms)
    found, _, _ = read_offer(signed_text(offer, SIGNATURE))
    spec = make_spec("Prompt=a", f"Steps={steps}", "VideoSteps=5", f"Batching={stills}")
    assert price_wei(spec, found.terms.prices) == max(floor, (job + step * (steps + weight * 5)) * stills)
