"""Sessions of the page in a browser: opened with the token, ended by sign-out, time, restart or a new token.

The cookie holds a random id that is worth nothing elsewhere, and is never the token. Sessions are held in
memory alone.
"""

import hashlib
import secrets
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response

from node.clock import Clock
from node.web.token_file import TokenFile

LASTS_S: Final = 7 * 86_400.0
IDLE_S: Final = 86_400.0
SIGN_IN: Final = "dashboard.sign_in"
"""The command that asks the running node for a sign-in code."""
SIGN_IN_S: Final = 300.0
MAX_SESSIONS: Final = 64
MAX_SIGN_INS: Final = 16
_ID_BYTES: Final = 32
_COOKIE: Final = "sdv_session"


class Sessions:
    """All open sessions. At most ``MAX_SESSIONS``: beyond that the oldest ends."""

    def __init__(self, token: TokenFile, clock: Clock) -> None:
        self._token: Final = token
        self._clock: Final = clock
        self._made_with = token.version()
        # By the id's hash, so that a look-up tells nothing about it in its time: (opened, last used).
        self._open: Final[dict[bytes, tuple[float, float]]] = {}
        self._sign_ins: Final[dict[bytes, float]] = {}

    def sign_in_code(self) -> str:
        """Return a text that opens one session within ``SIGN_IN_S``, once."""
        self._forget()
        code = secrets.token_urlsafe(_ID_BYTES)
        _make_room(self._sign_ins, MAX_SIGN_INS)
        self._sign_ins[_hash(code)] = self._clock.monotonic()
        return code

    def open(self, shown: str) -> str | None:
        """Return the id of a new session for the token or a sign-in code, None for anything else."""
        self._forget()
        made = self._sign_ins.pop(_hash(shown), None)
        if made is None and not self._token.matches(shown):
            return None
        session = secrets.token_urlsafe(_ID_BYTES)
        now = self._clock.monotonic()
        _make_room(self._open, MAX_SESSIONS)
        self._open[_hash(session)] = (now, now)
        return session

    def holds(self, session: str) -> bool:
        """Whether a session is open; this counts as use of it."""
        self._forget()
        key = _hash(session)
        if key not in self._open:
            return False
        self._open[key] = (self._open[key][0], self._clock.monotonic())
        return True

    def close(self, session: str) -> None:
        """End a session."""
        self._open.pop(_hash(session), None)

    def _forget(self) -> None:
        version = self._token.version()
        if version != self._made_with:
            self._made_with = version
            self._open.clear()
            self._sign_ins.clear()
        now = self._clock.monotonic()
        for key, (opened, used) in list(self._open.items()):
            if now - opened > LASTS_S or now - used > IDLE_S:
                del self._open[key]
        for key, made in list(self._sign_ins.items()):
            if now - made > SIGN_IN_S:
                del self._sign_ins[key]


def session_of(headers: Headers) -> str | None:
    """Return the session that a request's cookie names, or None."""
    return cookie_parser(headers.get("cookie", "")[:8192]).get(cookie_name(headers)) or None


def cookie_name(headers: Headers) -> str:
    """Return the cookie's name. It holds the port, as browsers keep cookies by host alone."""
    _, _, port = headers.get("host", "").rpartition(":")
    return f"{_COOKIE}_{port}" if port.isascii() and port.isdecimal() and len(port) <= 5 else _COOKIE


def give_cookie(response: Response, headers: Headers, session: str, *, secure: bool) -> None:
    """Have the browser keep a session: for this node's page alone, out of its scripts' reach."""
    response.set_cookie(
        cookie_name(headers), session, path="/", secure=secure, httponly=True, samesite="strict"
    )


def take_cookie(response: Response, headers: Headers, *, secure: bool) -> None:
    """Have the browser forget its session."""
    response.delete_cookie(cookie_name(headers), path="/", secure=secure, httponly=True, samesite="strict")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _make_room(kept: dict[bytes, Any], limit: int) -> None:
    while len(kept) >= limit:
        del kept[next(iter(kept))]
