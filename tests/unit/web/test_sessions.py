"""Signing in and out of the page, and the operator's orders."""

import asyncio
import json
from http.cookies import SimpleCookie

import pytest

from node.web import bodies
from node.web.callers import Callers
from node.web.sessions import IDLE_S, LASTS_S, MAX_SESSIONS, SIGN_IN_S
from node.web.signing_in import SigningIn
from tests.fakes.http_reader import Reader, ask

JSON = {"content_type": "application/json"}


@pytest.fixture
def app(make_app, token, sessions):
    """The application as it is reached from elsewhere: nobody is of the node's own user."""
    callers = Callers(token, sessions, is_own_process=lambda *_: False, own_origins=["https://node.example"])
    return make_app(
        callers=callers,
        signing_in=SigningIn(sessions, ["https://node.example"]),
        allowed_hosts=["node.example"],
    )


def cookie_of(answer):
    jar = SimpleCookie(answer.headers["set-cookie"])
    ((name, morsel),) = jar.items()
    return name, morsel


async def sign_in(app, shown, **headers):
    body = json.dumps({"token": shown}).encode()
    return await ask(app, "/api/v1/session", "POST", body, **JSON, **headers)


async def signed_in(app, shown):
    name, morsel = cookie_of(await sign_in(app, shown))
    return f"{name}={morsel.value}"


async def test_the_token_opens_a_session_whose_cookie_is_not_the_token(app, token):
    answer = await sign_in(app, token.read())
    assert answer.json == {"signed_in": True}
    name, morsel = cookie_of(answer)
    assert name == "sdv_session_8470"
    assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["secure"]) == (
        True,
        "strict",
        "/",
        "",
    )
    assert token.read() not in answer.headers["set-cookie"]
    assert (await ask(app, "/api/v1/jobs", cookie=f"{name}={morsel.value}")).status == 200
    assert (await ask(app, "/api/v1/jobs", cookie=f"{name}={morsel.value}x")).status == 401
    assert (await ask(app, "/api/v1/jobs", cookie=f"{name}={token.read()}")).status == 401


@pytest.mark.parametrize(
    "headers", [{"host": "node.example"}, {"x_forwarded_proto": "https", "host": "127.0.0.1"}]
)
async def test_behind_https_the_cookie_never_travels_in_the_clear(app, token, headers):
    name, morsel = cookie_of(await sign_in(app, token.read(), **headers))
    assert name == "sdv_session"
    assert morsel["secure"] is True


async def test_a_wrong_token_opens_no_session(app):
    for shown in ("", "x", "y" * 43):
        answer = await sign_in(app, shown)
        assert answer.status == 401
        assert "set-cookie" not in answer.headers
        assert shown not in answer.json["error"] or len(shown) < 2


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"[]", 400), (b'{"token": 7}', 400), (b"{", 400), (b"\xff", 400), (b"[" * 4000, 400)],
)
async def test_what_is_no_sign_in_is_refused_with_words(app, body, status):
    answer = await ask(app, "/api/v1/session", "POST", body, **JSON)
    assert answer.status == status
    assert "body must be" in answer.json["error"]


async def test_a_sign_in_code_in_the_pages_address_works_once_and_leads_to_the_clean_address(app, sessions):
    code = sessions.sign_in_code()
    answer = await ask(app, f"/?token={code}")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    name, morsel = cookie_of(answer)
    assert code not in answer.headers["set-cookie"]
    assert (await ask(app, "/metrics", cookie=f"{name}={morsel.value}")).status == 200
    again = await ask(app, f"/?token={code}")
    assert (again.status, again.headers["location"]) == (303, "/")
    assert "set-cookie" not in again.headers


async def test_a_sign_in_code_is_worth_nothing_as_a_token_or_after_its_time(app, sessions, clock):
    code = sessions.sign_in_code()
    assert (await ask(app, "/metrics", authorization=f"Bearer {code}")).status == 401
    await clock.sleep(SIGN_IN_S + 1)
    assert (await sign_in(app, code)).status == 401


@pytest.mark.parametrize("idle", [True, False])
async def test_a_session_ends_when_it_is_idle_or_old(app, token, clock, idle):
    cookie = await signed_in(app, token.read())
    for _ in range(int(LASTS_S // IDLE_S) if not idle else 0):
        await clock.sleep(IDLE_S - 60)
        assert (await ask(app, "/metrics", cookie=cookie)).status == 200
    await clock.sleep(IDLE_S + 1 if idle else 480)
    assert (await ask(app, "/metrics", cookie=cookie)).status == 401


async def test_signing_out_and_a_new_token_end_sessions_and_codes(app, token, sessions):
    cookie = await signed_in(app, token.read())
    left = await ask(app, "/api/v1/session", "DELETE", cookie=cookie)
    assert left.json == {"signed_in": False}
    assert cookie_of(left)[1]["max-age"] == "0"
    assert (await ask(app, "/metrics", cookie=cookie)).status == 401
    cookie, code = await signed_in(app, token.read()), sessions.sign_in_code()
    token.renew()
    assert (await ask(app, "/metrics", cookie=cookie)).status == 401
    assert (await sign_in(app, code)).status == 401


async def test_there_are_never_more_sessions_than_the_limit(app, token):
    first = await signed_in(app, token.read())
    for _ in range(MAX_SESSIONS):
        last = await signed_in(app, token.read())
    assert (await ask(app, "/metrics", cookie=first)).status == 401
    assert (await ask(app, "/metrics", cookie=last)).status == 200


async def test_live_events_end_with_the_token_that_opened_them(app, token, source):
    reader = Reader(app, "/api/v1/events", authorization=f"Bearer {token.read()}")
    await reader.until("event: status")
    token.renew()
    source.set_status(accepting=False)
    await asyncio.wait_for(reader.exchange, 60)
    assert b'"accepting":false' not in reader.answer.body


async def test_orders_are_obeyed_once_for_the_operator_alone(app, token, given):
    bearer = f"Bearer {token.read()}"
    assert (await ask(app, "/api/v1/drain", "POST", b"{}", **JSON)).status == 401
    assert given == []
    drained = await ask(app, "/api/v1/drain", "POST", b"{}", authorization=bearer, **JSON)
    assert drained.json == {"draining": True, "undelivered": 0}
    resumed = await ask(app, "/api/v1/resume", "POST", authorization=bearer, **JSON)
    assert resumed.json["draining"] is False
    assert given == ["drain", "resume"]
    refused = await ask(app, "/api/v1/drain", "POST", b'{"force": true}', authorization=bearer, **JSON)
    assert (refused.status, given) == (400, ["drain", "resume"])


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
async def test_a_foreign_page_orders_nothing_with_the_operators_cookie(app, token, given, headers):
    cookie = await signed_in(app, token.read())
    for path in ("/api/v1/drain", "/api/v1/resume", "/api/v1/session"):
        answer = await ask(app, path, "POST", b"{}", cookie=cookie, **JSON, **headers)
        assert answer.status == 403
    assert (await ask(app, "/api/v1/session", "DELETE", cookie=cookie, **headers)).status == 403
    assert given == []
    own = {"origin": "http://localhost:8470", "sec_fetch_site": "same-origin"}
    assert (await ask(app, "/api/v1/drain", "POST", b"{}", cookie=cookie, **JSON, **own)).status == 200
    public = {"origin": "https://node.example", "host": "127.0.0.1:8470"}
    assert (await ask(app, "/api/v1/drain", "POST", b"{}", cookie=cookie, **JSON, **public)).status == 200


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
async def test_what_a_form_can_send_is_no_order(app, token, given, kind):
    bearer = f"Bearer {token.read()}"
    answer = await ask(app, "/api/v1/drain", "POST", b"{}", authorization=bearer, content_type=kind)
    assert (answer.status, given) == (415, [])


async def test_a_large_or_endless_body_is_refused_before_it_is_kept(app, token, monkeypatch):
    bearer = f"Bearer {token.read()}"
    for path, method in (("/api/v1/status", "GET"), ("/api/v1/drain", "POST"), ("/ipfs/bafyx", "GET")):
        answer = await ask(app, path, method, authorization=bearer, content_length=str(10**7), **JSON)
        assert answer.status == 413
        assert "at most 4096 bytes" in answer.json["error"]
    streamed = await ask(app, "/api/v1/drain", "POST", b" " * 5000, authorization=bearer, **JSON)
    assert streamed.status == 413
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.01)
    slow = await ask(app, "/api/v1/drain", "POST", None, authorization=bearer, **JSON)
    assert slow.status == 408


async def test_the_signed_offer_is_everybodys(app):
    answer = await ask(app, "/api/v1/offer")
    assert answer.status == 200
    assert answer.json["resource_provider"] == "0x" + "a1" * 20
