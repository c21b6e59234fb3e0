"""What a provider says over HTTP is bounded, clamped and never believed."""

import json

import pytest

from node.destinations import Reach
from node.job.progress import Progress
from node.requester.provider import BadProviderUrl, Report, gateway_url, read_report
from node.types import DealId

DEAL = DealId("j7-x")


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
    assert gateway_url(text, Reach.ANY) == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8470",
        "http://[::1]:80",
        "https://10.0.0.7/x",
        "http://localhost",
        "http://169.254.169.254",
    ],
)
def test_an_address_in_a_private_network_is_refused_on_a_public_market(text):
    with pytest.raises(BadProviderUrl, match=r'not on the public internet.*private_gateways = "allow"'):
        gateway_url(text, Reach.PUBLIC)
    assert gateway_url("https://node.example/", Reach.PUBLIC) == "https://node.example"


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
        gateway_url(text, Reach.ANY)
    assert str(caught.value).isprintable()


def document(**progress) -> bytes:
    usual = {"stage": "sampling", "step": 3, "steps": 10, "fraction": 0.5}
    return json.dumps({"progress": usual | progress}).encode()


def read_progress(body: bytes) -> Progress | None:
    report = read_report(body, DEAL)
    return report.progress if report else None


def test_progress_is_read():
    assert read_progress(document()) == Progress("sampling", 3, 10, 0.5)


@pytest.mark.parametrize(
    ("estimate", "left_s"),
    [
        ({"left_s": 90}, 90.0),
        ({"left_s": 12.5, "more": 1}, 12.5),
        ({"left_s": -3}, 0.0),
        ({"left_s": 1e14}, 30 * 86400.0),
        ({"left_s": 10**400}, None),
        ({"left_s": True}, None),
        ({"left_s": "90"}, None),
        ({"left_s": float("nan")}, None),
        ({}, None),
        ([90], None),
        (None, None),
    ],
)
def test_the_time_left_is_a_bounded_time_or_nothing(estimate, left_s):
    report = read_report(json.dumps({"estimate": estimate}).encode(), DEAL)
    assert (report.left_s if report else None) == left_s


def test_a_refusal_is_read_with_its_reason_made_safe():
    body = {"deal_id": DEAL, "phase": "REFUSED", "reason": "its price is 1\x1b[2J"}
    assert read_report(json.dumps(body).encode(), DEAL).refused == "its price is 1 [2J"
    assert read_report(json.dumps(body | {"reason": None}).encode(), DEAL).refused == "it gives no reason"
    assert read_report(json.dumps(body | {"phase": "AGREEING"}).encode(), DEAL).refused is None


@pytest.mark.parametrize("phase", ["PUBLISHING", "SUBMITTING"])
def test_a_result_that_is_rendered_and_not_submitted_yet_is_being_published(phase):
    late = json.loads(document()) | {"deal_id": DEAL, "phase": phase}
    assert read_report(json.dumps(late).encode(), DEAL) == Report(None, publishing=True)


@pytest.mark.parametrize("phase", ["RENDERING", "SUBMITTED", "publishing", None, 5, ["PUBLISHING"], {}])
def test_any_other_phase_is_not(phase):
    assert not read_report(json.dumps({"phase": phase}).encode(), DEAL).publishing


def test_what_is_said_of_another_deal_is_left_out():
    body = {"deal_id": "j7-other", "phase": "REFUSED", "reason": "x"}
    assert read_report(json.dumps(body).encode(), DEAL) is None


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
