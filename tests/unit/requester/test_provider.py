"""What a provider says over HTTP is bounded, clamped and never believed."""

import json

import pytest

from node.job.progress import Progress
from node.requester.provider import BadProviderUrl, gateway_url, read_progress


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:8470", "http://127.0.0.1:8470"),
        ("https://node.example/", "https://node.example"),
        ("https://node.example/path/", "https://node.example/path"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_http_addresses_are_taken_without_their_last_slash(text, expected):
    assert gateway_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "node.example",
        "ftp://node.example",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "http://user:pass@node.example",
        "http://node.example?x=1",
        "http://node.example#x",
        "http://node.example:99999",
        "http://node.example:0",
        "http://node.example:x",
        "http://[::1",
        "http://node.example/\n",
        "http://node.example/\x1b[2J",
        "http://node.example\\@evil",
        "http://nod\u0435.example",
        "http://" + "a" * 300,
    ],
)
def test_anything_else_is_refused_with_a_printable_reason(text):
    with pytest.raises(BadProviderUrl) as caught:
        gateway_url(text)
    assert str(caught.value).isprintable()


def document(**progress) -> bytes:
    usual = {"stage": "sampling", "step": 3, "steps": 10, "fraction": 0.5}
    return json.dumps({"progress": usual | progress}).encode()


def test_progress_is_read():
    assert read_progress(document()) == Progress("sampling", 3, 10, 0.5)


def test_numbers_are_clamped_and_text_is_made_safe():
    assert read_progress(document(step=99, fraction=7)) == Progress("sampling", 10, 10, 1.0)
    assert read_progress(document(fraction=-1)).fraction == 0.0
    assert read_progress(document(stage="\x1b[31m" + "x" * 100)).stage == "[31m" + "x" * 33 + "..."


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 60_000,
        b"[]",
        b'{"progress": null}',
        document(step=-1),
        document(step=True),
        document(steps=10**9),
        document(steps="10"),
        document(fraction="1"),
        document(fraction=True),
        document(fraction=float("nan")),
        document(fraction=float("inf")),
        document(stage=5),
        b'{"progress": {"stage": "x", "step": ' + b"9" * 5000 + b', "steps": 1, "fraction": 0}}',
    ],
)
def test_anything_else_is_no_progress(body):
    assert read_progress(body) is None
