"""Who sends a request: the operator, or a stranger.

The operator is who knows the token, who holds a session that was opened with it, or a process on this machine
of the very user that the node runs as. That last one is believed only where nothing speaks for a proxy or for
a foreign page's script in between: a proxy runs as another user, adds its headers, or asks with HTTP/1.0; a
page's script is told by its browser's headers.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from node.web.local_user import Endpoint, is_own_process, plain_address
from node.web.sessions import Sessions, session_of
from node.web.token_file import TokenFile

_PROXIES: Final = ("forwarded", "via", "x-real-ip", "x-forwarded-")
_SAME_PAGE: Final = frozenset({"same-origin", "none"})
_CALLER: Final = "sdv_node.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``problem``: what was wrong with the credential that was shown, None if none was."""

    operator: bool
    problem: str | None = None
    still: Callable[[], bool] = lambda: True
    """Whether the credential is worth something still, for answers that go on for long."""


STRANGER: Final = Caller(operator=False)
OPERATOR: Final = Caller(operator=True)


class Callers:
    """Tells the operator from everybody else.

    ``trust_local_user`` is the setting http.local_user; ``own_origins`` are the addresses, such as
    ``https://node.example``, that the node's page has behind a proxy.
    """

    def __init__(
        self,
        token: TokenFile,
        sessions: Sessions,
        *,
        trust_local_user: bool = True,
        own_origins: Iterable[str] = (),
        is_own_process: Callable[[Endpoint, Endpoint], bool] = is_own_process,
    ) -> None:
        self._token: Final = token
        self._sessions: Final = sessions
        self._trust_local_user: Final = trust_local_user
        self._own_origins: Final = frozenset(origin(url) for url in own_origins)
        self._is_own_process: Final = is_own_process

    def look(self, scope: Scope) -> Caller:
        """Return who sends a request. A credential that is shown and wrong is never passed over."""
        headers = Headers(scope=scope)
        shown = headers.getlist("authorization")
        if shown:
            return self._bearer(shown)
        session = session_of(headers)
        if session is not None and self._sessions.holds(session):
            return Caller(operator=True, still=partial(self._sessions.holds, session))
        if self._trust_local_user and self._is_local_user(scope, headers):
            return OPERATOR
        return STRANGER

    def is_foreign_page(self, headers: Headers) -> bool:
        """Whether a browser says that a page of somebody else's caused the request."""
        site = headers.get("sec-fetch-site")
        if site is not None and site not in _SAME_PAGE:
            return True
        sender = headers.get("origin")
        return sender is not None and not self._is_own(sender, headers.get("host", ""))

    def _is_own(self, sender: str, host: str) -> bool:
        sender = sender.lower()
        return sender in self._own_origins or sender in {f"http://{host.lower()}", f"https://{host.lower()}"}

    def _bearer(self, shown: list[str]) -> Caller:
        scheme, _, token = shown[0].partition(" ")
        if len(shown) > 1 or scheme.lower() != "bearer":
            return Caller(operator=False, problem="the Authorization header must be Bearer and the token")
        if self._token.matches(token.strip()):
            return Caller(operator=True, still=partial(self._token.matches, token.strip()))
        return Caller(operator=False, problem="this is not the node's token: sdv-node dashboard tells it")

    def _is_local_user(self, scope: Scope, headers: Headers) -> bool:
        peer, own = scope.get("client"), scope.get("server")
        if peer is None or own is None or scope.get("http_version") == "1.0":
            return False
        return (
            _is_loopback(peer[0])
            and _is_loopback(_name(headers.get("host", "")))
            and not any(name.startswith(_PROXIES) for name in headers)
            and not self.is_foreign_page(headers)
            and self._is_own_process((peer[0], peer[1]), (own[0], own[1]))
        )


def remember(scope: Scope, caller: Caller) -> None:
    """Note who sends a request, for the endpoint that answers it."""
    scope[_CALLER] = caller


def is_operator(request: Request) -> bool:
    """Whether the operator asks, and so gets everything."""
    caller = request.scope.get(_CALLER, STRANGER)
    return isinstance(caller, Caller) and caller.operator


def origin(url: str) -> str:
    """Return scheme and host of an address, as a browser's Origin header has them."""
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc}"


def _name(host: str) -> str:
    """Return a Host header's name or address, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    address = plain_address(name)
    return address is not None and address.is_loopback
