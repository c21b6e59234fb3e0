"""Who may ask, what may be asked, and what every answer carries."""

import pytest

from tests.fakes.http_reader import ask


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8470", "127.0.0.1:8470", "[::1]:8470", "::1", "192.168.1.20:8470", "LOCALHOST."],
)
async def test_the_nodes_own_names_and_addresses_are_answered(app, host):
    assert (await ask(app, "/api/v1/status", host=host)).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8470", "", "a:b:c:d", "2130706433x"],
)
async def test_a_foreign_name_is_refused_so_that_dns_rebinding_reads_nothing(app, host):
    answer = await ask(app, "/api/v1/status", host=host)
    assert answer.status == 421
    assert "http.public_url" in answer.json["error"]


async def test_the_public_name_is_answered_once_it_is_allowed(make_app):
    app = make_app(allowed_hosts=["Node.Example.org"])
    assert (await ask(app, "/", host="node.example.org:443")).status == 200
    assert (await ask(app, "/", host="other.example.org")).status == 421


@pytest.mark.parametrize("path", ["/livez", "/ipfs/bafyx/outputs/a.png"])
async def test_content_and_health_answer_under_any_name(app, path):
    assert (await ask(app, path, host="gateway.example.org")).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/api/v1/jobs", "/metrics"])
async def test_what_is_read_cannot_be_changed_over_http(app, method, path):
    answer = await ask(app, path, method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.json["error"] == f"method {method} is not allowed here, only GET, HEAD"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE"])
async def test_content_cannot_be_changed_over_http(app, method):
    answer = await ask(app, "/ipfs/bafyx", method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_head_is_answered_like_get_and_a_head_for_events_opens_no_stream(app, source):
    assert (await ask(app, "/api/v1/status", "HEAD")).status == 200
    events = await ask(app, "/api/v1/events", "HEAD")
    assert events.headers["content-type"].startswith("text/event-stream")
    assert source.subscribers == 0


@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/static/main.js", "/nothing"])
async def test_a_browser_is_told_to_run_nothing_but_the_nodes_own_page(app, path):
    headers = (await ask(app, path)).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


async def test_published_content_is_sandboxed_because_a_job_wrote_it(app):
    headers = (await ask(app, "/ipfs/bafyx/outputs/page.html")).headers
    assert "script-src" not in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none';")
    assert headers["content-security-policy"].endswith("; sandbox allow-same-origin")
    assert headers["x-content-type-options"] == "nosniff"
