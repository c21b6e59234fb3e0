"""The door of one path: who may pass, with which method, before its endpoint sees the request."""

from collections.abc import Iterable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from node.web.callers import OPERATOR, Caller, Callers, remember
from node.web.routes import Access, Operation

_REALM: Final = 'Bearer realm="sdv-node operator"'


class Door:
    """ASGI application that answers one path of the table."""

    decides_access: Final = True

    def __init__(self, operations: Mapping[str, Operation], callers: Callers) -> None:
        self._operations: Final = operations
        self._callers: Final = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or let the endpoint answer."""
        request = Request(scope, receive, send)
        caller = OPERATOR

        async def send_while_allowed(message: Message) -> None:
            if message.get("more_body") and not caller.still():
                # Live events go on for days: they end with the token or the session that opened them.
                raise ConnectionAbortedError("the credential is not worth anything any more")
            await send(message)

        operation = self._operations.get(request.method)
        if operation is not None and operation.access is not Access.PUBLIC:
            caller = self._callers.look(scope)
        response = await self._answer(request, operation, caller)
        await response(scope, receive, send_while_allowed)

    async def _answer(self, request: Request, operation: Operation | None, caller: Caller) -> Response:
        if operation is None:
            return not_allowed(request.method, self._operations)
        if operation.changes and (refusal := self._unsafe(request)) is not None:
            return refusal
        if operation.access is not Access.PUBLIC:
            if caller.problem or (operation.access is Access.OPERATOR and not caller.operator):
                return unauthorised(caller)
            remember(request.scope, caller)
        return await operation.endpoint(request)

    def _unsafe(self, request: Request) -> Response | None:
        """Refuse what a foreign page's script or form could have sent with the operator's own cookie."""
        if self._callers.is_foreign_page(request.headers):
            return JSONResponse({"error": "a page of another address may not change anything here"}, 403)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method == "POST" and kind != "application/json":
            return JSONResponse({"error": "send JSON with Content-Type: application/json"}, 415)
        return None


class ContentDoor:
    """ASGI application that lets everybody have published content."""

    decides_access: Final = True

    def __init__(self, route: Route) -> None:
        self._app: Final = route.app
        self._methods: Final = sorted({"GET", "HEAD", *(route.methods or ())})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        allowed = scope["method"] in self._methods
        app = self._app if allowed else not_allowed(scope["method"], self._methods)
        await app(scope, receive, send)


def not_allowed(method: str, allowed: Iterable[str]) -> Response:
    """Refuse a method that a path does not have."""
    names = ", ".join(allowed)
    return JSONResponse(
        {"error": f"method {method} is not allowed here, only {names}"}, 405, {"Allow": names}
    )


def unauthorised(caller: Caller) -> Response:
    """Refuse who is not the operator, and say how the operator shows himself."""
    challenge = _REALM + (', error="invalid_token"' if caller.problem else "")
    words = caller.problem or (
        "only the node's operator may ask for this: send Authorization: Bearer and the token in http-token "
        "of the node's data directory, or open the address that sdv-node dashboard prints"
    )
    return JSONResponse({"error": words}, 401, {"WWW-Authenticate": challenge, "Cache-Control": "no-store"})
