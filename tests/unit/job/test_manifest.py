"""A manifest is read as a stranger's text: what it may say is bounded, what it says is kept."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.job.manifest import (
    MAX_MANIFEST_BYTES,
    BadManifest,
    Manifest,
    OutputFile,
    class_name,
    digest,
    read_manifest,
)

HASH = "ab" * 32
PARTS = {"torch": "2", "profile": "tiny", "weights": digest({"w": HASH})}
WHOLE = Manifest(
    module="sdv-pipeline:v1.1-lilypad2",
    profile="tiny",
    inputs={"Prompt": "a cow", "Seed": 2**64 - 1},
    notes=("a note",),
    determinism_class=class_name(PARTS),
    class_parts=PARTS,
    weights={"w": HASH},
    stages={"stills": HASH},
    outputs=(OutputFile("outputs/still_00001_.png", "image/png", 7, HASH),),
)


def encoded(**changes):
    return json.dumps(WHOLE.to_json() | changes).encode()


def test_what_was_written_is_read_again():
    assert read_manifest(encoded()) == WHOLE


def test_the_name_of_a_class_follows_from_its_parts_in_any_order():
    assert class_name(dict(reversed(PARTS.items()))) == class_name(PARTS)
    assert class_name(PARTS | {"torch": "3"}) != class_name(PARTS)
    assert len(class_name(PARTS)) == 16


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"version": 2}, "version is 2"),
        ({"version": True}, "version is True"),
        ({"module": 5}, "module is 5"),
        ({"profile": None}, "profile is None"),
        ({"determinism_class": "x" * 5000}, "determinism_class"),
        ({"inputs": []}, "inputs"),
        ({"inputs": {"Seed": 1.5}}, "whole numbers"),
        ({"inputs": {"Seed": True}}, "whole numbers"),
        ({"notes": "a note"}, "notes"),
        ({"class_parts": {"torch": 2}}, "class_parts"),
        ({"weights": {"w": "AB" * 32}}, "weights"),
        ({"stages": {"stills": "ab"}}, "stages"),
        ({"outputs": {}}, "outputs"),
        ({"outputs": [WHOLE.outputs[0].to_json()] * 2}, "twice"),
        ({"outputs": [WHOLE.outputs[0].to_json() | {"path": "outputs/../stdout"}]}, "outside outputs/"),
        ({"outputs": [WHOLE.outputs[0].to_json() | {"bytes": "7"}]}, "an output"),
    ],
)
def test_what_no_manifest_says_is_named(changes, named):
    with pytest.raises(BadManifest, match=named):
        read_manifest(encoded(**changes))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 10_000, b" " * (MAX_MANIFEST_BYTES + 1)])
def test_what_is_no_manifest_is_refused(data):
    with pytest.raises(BadManifest, match=r"manifest\.json"):
        read_manifest(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(WHOLE.to_json())), JSON))
def test_any_other_document_is_refused_with_one_error_and_nothing_else(changes):
    try:
        found = read_manifest(encoded(**changes))
    except BadManifest:
        return
    assert read_manifest(json.dumps(found.to_json()).encode()) == found
