"""The interface as an OpenAPI 3.1 document, made from the table of routes and the types of their answers."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import Route

from node import __version__
from node.web.answers import Error
from node.web.routes import Access, Operation

PATH: Final = "/api/v1/openapi.json"
_ABOUT: Final = (
    "The HTTP port of one sdv-node. Strangers get the public part; the operator sends the token of "
    "http-token in the node's data directory, or holds a session that was opened with it. HEAD is answered "
    "like GET."
)
_TAGS: Final = [
    {"name": "public", "description": "For everybody"},
    {"name": "operator", "description": "For the node's operator alone"},
]
_ACCESS: Final = {
    Access.PUBLIC: "Everybody gets the same.",
    Access.SHARED: 'Everybody gets the document with "view": "public"; the operator gets the whole one.',
    Access.OPERATOR: "The operator alone.",
}
_REFUSED: Final = {
    400: "The request is malformed; the words say what is allowed",
    401: "A token is missing or wrong; the words say how the operator shows himself",
    403: "A page of another address asked to change something",
    404: "There is no such thing",
    408: "The body did not arrive in time",
    413: "The body is larger than is read here",
    415: "The body is not declared as application/json",
    421: "The Host header names somebody else",
    503: "Not now; for health: the reasons why",
}
_WRONG_TOKEN: Final = frozenset({401})
_WITH_BODY: Final = frozenset({400, 403, 408, 415})


def document(table: Sequence[Operation], content: Iterable[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of everything the application answers."""
    models = {Error: None} | dict.fromkeys(model for one in table for model in _models(one))
    references, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas = {model: references[model, "validation"] for model in models}
    paths: dict[str, dict[str, Any]] = {}
    for operation in table:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, schemas)
    for route in content:
        paths[re.sub(r":\w+}", "}", route.path)] = {"get": _content(route)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "sdv-node", "version": __version__, "description": _ABOUT},
        "tags": _TAGS,
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "sdv_session_PORT"},
            },
        },
    }


def _models(operation: Operation) -> list[type[BaseModel]]:
    given = (operation.answer, operation.public_answer, operation.takes)
    return [model for model in given if isinstance(model, type)]


def _described(operation: Operation, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    named = re.findall(r"{(\w+)}", operation.path)
    parameters = [_parameter(name, "path", "") for name in named]
    parameters += [_parameter(name, "query", text) for name, text in operation.query.items()]
    told: dict[str, Any] = {
        "tags": ["operator" if operation.access is Access.OPERATOR else "public"],
        "summary": operation.summary,
        "description": " ".join((_ACCESS[operation.access], operation.details)).strip(),
        "operationId": f"{operation.method.lower()}{re.sub(r'[^a-z0-9]+', '_', operation.path.lower())}",
        "responses": {"200": _answer(operation, schemas), **_refusals(operation, schemas)},
    }
    if parameters:
        told["parameters"] = parameters
    if operation.takes is not None:
        content = {"application/json": {"schema": schemas[operation.takes]}}
        told["requestBody"] = {"required": True, "content": content}
    if operation.access is not Access.PUBLIC:
        told["security"] = [{"token": []}, {"session": []}]
        if operation.access is Access.SHARED:
            told["security"].append({})
    return told


def _parameter(name: str, where: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": text,
        "schema": {"type": "string"},
    }


def _answer(operation: Operation, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    if isinstance(operation.answer, str):
        return {"description": operation.summary, "content": {operation.answer: {}}}
    schema = schemas[operation.answer]
    if operation.public_answer is not None:
        schema = {"anyOf": [schemas[operation.public_answer], schema]}
    return {"description": operation.summary, "content": {"application/json": {"schema": schema}}}


def _refusals(operation: Operation, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    statuses = {413, 421, *operation.refusals}
    statuses |= _WITH_BODY if operation.takes is not None else set()
    statuses |= _WRONG_TOKEN if operation.access is not Access.PUBLIC else set()
    if operation.path in {"/livez", "/readyz"}:
        statuses -= {421}
    return {
        str(status): {
            "description": _REFUSED[status],
            "content": {"application/json": {"schema": schemas[_refusal_type(operation, status)]}},
        }
        for status in sorted(statuses)
    }


def _refusal_type(operation: Operation, status: int) -> type[BaseModel]:
    # An ill node answers its health with the same document as a sound one.
    same = status == 503 and isinstance(operation.answer, type)
    return operation.answer if same and isinstance(operation.answer, type) else Error


def _content(route: Route) -> dict[str, Any]:
    named = re.findall(r"{(\w+)", route.path)
    return {
        "tags": ["public"],
        "summary": "Published content, by the trustless gateway specification",
        "description": "Files and directories; ?format=raw gives a block, ?format=car a CAR.",
        "operationId": f"get{re.sub(r'[^a-z0-9]+', '_', route.path.lower())}",
        "parameters": [
            *(_parameter(name, "path", "") for name in named),
            _parameter("format", "query", "raw or car; without it the file or a page of the directory"),
        ],
        "responses": {
            "200": {"description": "The content", "content": {"*/*": {}}},
            "404": {"description": "It is not here", "content": {"text/plain": {}}},
        },
    }
