"""The OpenAPI document says what the application really answers, no more and no less."""

import json

import jsonschema
import pytest
from starlette.routing import Route

from node.web.callers import Callers
from node.web.routes import Access
from tests.fakes.http_reader import ask
from tests.fakes.openapi import problems_of

JSON = {"content_type": "application/json"}


@pytest.fixture
async def document(app):
    return (await ask(app, "/api/v1/openapi.json")).json


def test_every_route_stands_in_the_document_and_every_entry_is_a_route(app, document):
    served = {(one.path, one.method.lower()) for one in app.state.table}
    content = {(route.path.replace(":path}", "}"), "get") for route in app.routes if "/ipfs/" in route.path}
    told = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert told == served | content
    assert all(isinstance(route, Route) for route in app.routes)


def test_the_document_is_of_openapi_3_1_with_sound_schemas_and_references(document):
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert f"#/components/schemas/{name}" in text
    identities = [told["operationId"] for methods in document["paths"].values() for told in methods.values()]
    assert len(set(identities)) == len(identities)


def test_the_documents_tags_and_security_are_those_of_the_table(app, document):
    for one in app.state.table:
        told = document["paths"][one.path][one.method.lower()]
        assert told["tags"] == ["operator" if one.access is Access.OPERATOR else "public"]
        assert ("security" in told) is (one.access is not Access.PUBLIC)
        assert ("401" in told["responses"]) is (one.access is not Access.PUBLIC or one.method == "POST")


@pytest.mark.parametrize("as_operator", [True, False])
async def test_what_is_answered_is_what_the_document_says(
    make_app, token, sessions, source, document, as_operator
):
    source.add_job("a red fox")
    source.render("j1", "still", 3)
    source.refuse_job("an owl", "the price is too low")
    app = make_app(callers=Callers(token, sessions, is_own_process=lambda *_: as_operator))
    for path, methods in document["paths"].items():
        for method in methods:
            where = path.replace("{job_id}", "j1").replace("{name}", "main.js")
            if path.startswith("/ipfs/") or path == "/api/v1/events":
                continue
            answer = await ask(app, where, method.upper(), b"{}", **JSON)
            assert problems_of(document, path, method, answer.status, answer.body) == []


async def test_what_is_refused_is_what_the_document_says(app, document):
    for path, status in (("/api/v1/jobs/j9", 404), ("/api/v1/jobs?limit=0", 400), ("/static/x", 404)):
        answer = await ask(app, path)
        assert answer.status == status
        template = "/api/v1/jobs/{job_id}" if "j9" in path else path.partition("?")[0]
        template = "/static/{name}" if "static" in path else template
        assert problems_of(document, template, "get", status, answer.body) == []


def test_the_check_itself_finds_what_is_wrong(document):
    assert problems_of(document, "/livez", "get", 200, b'{"ok": 1}')
    assert problems_of(document, "/livez", "get", 418, b"{}")
    assert problems_of(document, "/api/v1/status", "get", 200, b'{"view": "public", "secret": 1}')
