"""Signing in and out of the page: the token for a session's cookie."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from node.web.answers import Session, SignIn
from node.web.bodies import read_object
from node.web.routes import Access, Operation
from node.web.sessions import Sessions, give_cookie, session_of, take_cookie

_REFUSED: Final = (
    "this is neither the node's token nor a fresh sign-in code: sdv-node dashboard prints an address"
)
PATH: Final = "/api/v1/session"


class SigningIn:
    """Opens and ends sessions. ``secure_hosts`` are the hosts that browsers reach by https."""

    def __init__(self, sessions: Sessions, public_urls: Iterable[str] = ()) -> None:
        self._sessions: Final = sessions
        parts = [urlsplit(url.lower()) for url in public_urls]
        self._secure_hosts: Final = frozenset(part.netloc for part in parts if part.scheme == "https")

    def table(self) -> tuple[Operation, ...]:
        """Return the operations. Opening is for everybody who has a token to show."""
        return (
            Operation(
                PATH,
                Access.PUBLIC,
                self.open,
                "Open a session with the token",
                "POST",
                answer=Session,
                takes=SignIn,
                refusals=(401,),
                details="Answers with a cookie that is HttpOnly and SameSite=Strict.",
            ),
            Operation(
                PATH, Access.PUBLIC, self.close, "End the session", "DELETE", answer=Session, refusals=(403,)
            ),
        )

    async def open(self, request: Request) -> Response:
        """Answer the token, or a sign-in code, with a session's cookie."""
        shown = (await read_object(request)).get("token")
        if not isinstance(shown, str):
            raise HTTPException(400, 'the body must be {"token": "..."}')
        session = self._sessions.open(shown)
        if session is None:
            return JSONResponse({"error": _REFUSED}, 401, {"WWW-Authenticate": "Bearer", **_NOT_KEPT})
        response = JSONResponse({"signed_in": True}, headers=_NOT_KEPT)
        give_cookie(response, request.headers, session, secure=self._is_secure(request))
        return response

    async def close(self, request: Request) -> Response:
        """End the session whose cookie is shown."""
        session = session_of(request.headers)
        if session is not None:
            self._sessions.close(session)
        response = JSONResponse({"signed_in": False}, headers=_NOT_KEPT)
        take_cookie(response, request.headers, secure=self._is_secure(request))
        return response

    def by_address(self, request: Request) -> Response:
        """Answer the page's address with a token in it: set the cookie, lead to the address without it."""
        session = self._sessions.open(request.query_params["token"])
        # A wrong one leads to the same page, whose form then asks for the token.
        response = RedirectResponse("/", 303, _NOT_KEPT)
        if session is not None:
            give_cookie(response, request.headers, session, secure=self._is_secure(request))
        return response

    def _is_secure(self, request: Request) -> bool:
        told = request.headers.get("x-forwarded-proto", "").lower().strip()
        host = request.headers.get("host", "").lower()
        return request.url.scheme == "https" or told == "https" or host in self._secure_hosts


_NOT_KEPT: Final = {"Cache-Control": "no-store"}
