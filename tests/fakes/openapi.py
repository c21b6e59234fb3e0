"""What is wrong with an answer, by an OpenAPI document."""

import json
from typing import Any

import jsonschema
from jsonschema.exceptions import best_match


def problems_of(document: dict[str, Any], path: str, method: str, status: int, body: bytes) -> list[str]:
    told = document["paths"][path][method]["responses"].get(str(status))
    if told is None:
        return [f"{method} {path} answered {status}, which the document does not know: {body[:200]!r}"]
    schema = told["content"].get("application/json", {}).get("schema")
    if schema is None:
        return []
    whole = schema | {"components": document["components"]}
    found = jsonschema.Draft202012Validator(whole).iter_errors(json.loads(body))
    # Of a union the branch that nearly fits says more than that none does.
    nearest = (best_match([error]) for error in found)
    return [f"{method} {path}: {error.json_path}: {error.message[:300]}" for error in nearest]
