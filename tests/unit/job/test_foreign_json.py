"""A stranger's JSON cannot exhaust the stack."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.job.foreign_json import MAX_DEPTH, read_json


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
        b'"' + b'\\"' * 500_000,
        b"[" * 2_000_000,
        b"[" * 100_000 + b"x" + b"]" * 100_000,
        b"[[]" * 300_000,
        b'{"":[' * 200_000,
        ('["\u225b' + "[" * 200_000).encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
    ],
)
def test_what_is_no_json_is_refused(data):
    with pytest.raises(ValueError):
        read_json(data)


texts = st.text(alphabet='[]{}"\\a:, é\n', max_size=8)
leaves = st.none() | st.integers() | texts
documents = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner))


def depth_of(document: Any) -> int:
    inner = document.values() if isinstance(document, dict) else document
    return 1 + max(map(depth_of, inner), default=0) if isinstance(document, list | dict) else 0


@given(documents, st.integers(0, MAX_DEPTH + 2), st.booleans())
def test_the_depth_alone_decides_whatever_the_strings_hold(document, wrapped, plain):
    for level in range(wrapped):
        document = [document] if level % 2 else {'"]': document}
    data = json.dumps(document, ensure_ascii=plain).encode()
    if depth_of(document) > MAX_DEPTH:
        with pytest.raises(ValueError, match="nested deeper"):
            read_json(data)
    else:
        assert read_json(data) == document
