"""A stranger's JSON cannot exhaust the stack."""

import json

import pytest

from node.requester.foreign_json import MAX_DEPTH, read_json


def test_documents_up_to_the_depth_are_read_as_usual():
    document = {"a": ["]]]", '"[[[', "\\"], "b": "[" * 1000, "c": [{} for _ in range(1000)]}
    assert read_json(json.dumps(document).encode()) == document
    assert read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"\\"":', b'["\\\\",', b"[1,"])
def test_deeper_ones_are_refused_however_they_are_built(opening):
    with pytest.raises(ValueError, match="nested deeper"):
        read_json(opening * 200_000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'"' * 100_001,
        b'"' + bytes([92]),
        b"\xff",
        b"]" * 100_000,
        bytes([92]) * 100_001,
        ('["\u225b' + "[" * 200_000).encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
    ],
)
def test_what_is_no_json_is_refused(data):
    with pytest.raises(ValueError):
        read_json(data)
