"""Who gets what: every operation of the table, asked by the operator, by strangers and by pretenders."""

import os

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from node.web.callers import Callers
from node.web.routes import Access, Content, Operation, everything
from tests.fakes.http_reader import ask

JSON = "application/json"
SECRETS = (str(412 << 30), str(10**18 // 4), "rpc.example.org", "GPU-0", "0x" + "f3" * 20, "a red fox")


@pytest.fixture
def strange(make_app, token, sessions, source):
    """The application as strangers reach it: nobody is of the node's own user."""
    source.add_job("a red fox")
    return make_app(callers=Callers(token, sessions, is_own_process=lambda *_: False))


def operations(app):
    return [(one, one.path.replace("{job_id}", "j1").replace("{name}", "main.js")) for one in app.state.table]


def bearer(token):
    return f"Bearer {token.read()}"


async def test_a_stranger_gets_no_data_of_the_operators_from_any_operation(strange):
    for operation, path in operations(strange):
        answer = await ask(strange, path, operation.method, content_type=JSON)
        if operation.access is Access.OPERATOR:
            assert answer.status == 401, path
            assert answer.headers["www-authenticate"] == 'Bearer realm="sdv-node operator"'
            assert "sdv-node dashboard" in answer.json["error"]
        assert not [secret for secret in SECRETS if secret.encode() in answer.body], path


async def test_a_wrong_token_opens_nothing_and_is_said_to_be_wrong(strange, token):
    old = token.read()
    token.renew()
    for operation, path in operations(strange):
        for shown in (f"Bearer {old}", "Bearer x", "Bearer", f"Basic {token.read()}"):
            if operation.access is Access.PUBLIC:
                continue
            answer = await ask(strange, path, operation.method, authorization=shown, content_type=JSON)
            assert answer.status == 401, (path, shown)
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
            assert old not in answer.body.decode()


async def test_the_token_opens_everything_from_anywhere(strange, token):
    status = await ask(strange, "/api/v1/status", authorization=bearer(token), host="192.168.1.7")
    assert status.json["wallet"]["gas_wei"]
    assert (await ask(strange, "/api/v1/jobs/j1", authorization=bearer(token))).json["prompt"] == "a red fox"
    assert (await ask(strange, "/metrics", authorization=bearer(token))).status == 200


async def test_metrics_are_everybodys_once_that_is_set(make_app, token, sessions):
    app = make_app(callers=Callers(token, sessions, is_own_process=lambda *_: False), public_metrics=True)
    assert (await ask(app, "/metrics")).status == 200


async def test_a_requester_may_ask_how_far_its_job_is_and_why_it_was_declined(strange, source):
    source.render("j1", "still", 3)
    source.refuse_job("a red fox", "the price is too low")
    running = (await ask(strange, "/api/v1/jobs/j1")).json
    assert running["phase"] == "RENDERING"
    assert running["progress"]["step"] == 3
    assert running["estimate"]["left_s"]
    assert not {"prompt", "inputs", "transactions", "money", "requester"} & set(running)
    assert (await ask(strange, "/api/v1/jobs/j2")).json["reason"] == "the price is too low"


async def test_strangers_are_told_what_a_matcher_needs(strange):
    told = (await ask(strange, "/api/v1/status")).json
    assert told["view"] == "public"
    assert told["provider"] == "0x" + "a1" * 20
    assert told["chain"]["chain_id"] == 31337
    assert told["worker"] == {"profile": "sdv-1.1", "determinism_class": "d3b07384d113"}
    assert told["accepting"] is True


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "node.example"},
        {"host": "192.168.1.7:8470"},
        {"x_forwarded_for": "203.0.113.9"},
        {"x_forwarded_proto": "https"},
        {"forwarded": "for=203.0.113.9"},
        {"via": "1.1 proxy"},
        {"x_real_ip": "203.0.113.9"},
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
async def test_the_nodes_own_user_needs_a_token_where_a_proxy_or_a_foreign_page_stands_between(
    make_app, headers
):
    app = make_app(allowed_hosts=["node.example"])
    assert (await ask(app, "/api/v1/jobs", **headers)).status == 401


@pytest.mark.parametrize("host", ["localhost:8470", "127.0.0.1:8470", "127.9.9.9", "[::1]:8470"])
async def test_the_nodes_own_user_needs_no_token_on_this_machine(make_app, host):
    assert (await ask(make_app(), "/api/v1/jobs", host=host, sec_fetch_site="none")).status == 200


async def test_the_nodes_own_user_needs_the_token_too_where_that_is_set(make_app, token, sessions):
    app = make_app(callers=Callers(token, sessions, trust_local_user=False, is_own_process=lambda *_: True))
    assert (await ask(app, "/api/v1/jobs")).status == 401
    assert (await ask(app, "/api/v1/jobs", authorization=bearer(token))).status == 200


def test_no_route_is_served_without_an_access_class(make_app):
    async def leak(_request):
        return PlainTextResponse("secret")

    with pytest.raises(ValueError, match="no access class"):
        everything([Route("/leak", leak)])
    with pytest.raises(ValueError, match="no access class"):
        everything([*make_app().routes, Route("/leak", leak)])
    with pytest.raises(ValueError, match="access class"):
        list(Content([Route("/api/v1/leak", leak)]).routes)
    with pytest.raises(ValueError, match="twice"):
        make_app(more=[Operation("/livez", Access.OPERATOR, leak, "again")])


async def test_operations_of_others_are_asked_for_their_class_too(make_app, token, sessions):
    async def hours(_request):
        return PlainTextResponse("secret")

    app = make_app(
        callers=Callers(token, sessions, is_own_process=lambda *_: False),
        more=[Operation("/api/v1/gpu-hours", Access.OPERATOR, hours, "hours")],
    )
    assert isinstance(app, Starlette)
    assert (await ask(app, "/api/v1/gpu-hours")).status == 401
    assert (await ask(app, "/api/v1/gpu-hours", authorization=bearer(token))).body == b"secret"


def test_a_token_file_is_private_and_replaced_as_a_whole(token):
    first = token.read()
    assert len(first) >= 43
    assert token.path.stat().st_mode & 0o777 == 0o600
    assert token.matches(first)
    second = token.renew()
    assert second != first
    assert not token.matches(first)
    assert token.matches(second)
    assert [path.name for path in token.path.parent.iterdir()] == ["http-token"]


@pytest.mark.parametrize("text", ["", "short", "x" * 300, "a" * 40 + " " + "b" * 40, "ä" * 40])
def test_a_file_that_holds_no_token_matches_nothing_and_says_what_is_wrong(token, text):
    token.path.write_text(text)
    assert not token.matches(text)
    with pytest.raises(Exception, match="holds no token"):
        token.ensure()


def test_a_token_that_others_can_read_is_refused_with_the_remedy(token):
    token.path.chmod(0o644)
    with pytest.raises(Exception, match="chmod 600"):
        token.ensure()
    assert not token.matches(token.path.read_text().strip())


def test_a_token_file_that_is_a_link_or_no_file_is_refused(token, tmp_path):
    token.path.rename(tmp_path / "elsewhere")
    token.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="cannot be read"):
        token.ensure()
    token.path.unlink()
    os.mkfifo(token.path)
    with pytest.raises(Exception, match="is not a file"):
        token.ensure()
