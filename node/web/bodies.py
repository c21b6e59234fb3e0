"""Reading what a request carries: one small JSON object, within a size and a time."""

import asyncio
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

from node.job.foreign_json import read_json

MAX_BODY_BYTES: Final = 4096
BODY_TIMEOUT_S: Final = 5.0


async def read_object(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request, empty if it carries nothing.

    Raises HTTPException 400, 408 or 413, saying what is wrong and what is allowed.
    """
    body = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for piece in request.stream():
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    raise too_large()
    except TimeoutError as error:
        raise HTTPException(408, f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from error
    try:
        document = read_json(body) if body else {}
    except ValueError as error:
        raise HTTPException(400, "the body must be one JSON object in UTF-8") from error
    if not isinstance(document, dict):
        raise HTTPException(400, "the body must be one JSON object in UTF-8")
    return document


def too_large() -> HTTPException:
    """Return the refusal of a body beyond the limit."""
    return HTTPException(413, f"the body is too large: at most {MAX_BODY_BYTES} bytes are read here")
