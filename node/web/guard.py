"""What every request passes before a route sees it, and what every answer carries.

A Host header that names this node, and headers that keep a browser from running anything but the page that
ships with the node. Content and health routes answer under any name: they hold nothing that a foreign page
could not fetch for itself.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.web.bodies import MAX_BODY_BYTES, too_large

_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Published files are a job's output: opened directly they may be looked at, and nothing in them may run. The
# sandbox keeps the origin because a browser's own video page otherwise may not load the video it shows.
_CONTENT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'; "
    "sandbox allow-same-origin"
)
_CONTENT: Final = "/ipfs/"
_ANY_NAME: Final = (_CONTENT, "/livez", "/readyz")


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str] = ()) -> None:
        self._app: Final = app
        self._allowed: Final = frozenset({"localhost", *(host.lower().rstrip(".") for host in allowed_hosts)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what is not for us, otherwise pass on and add the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _protect(MutableHeaders(scope=message), path)
            await send(message)

        refusal = self._refusal(scope, path)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, path: str) -> JSONResponse | None:
        if scope.get("http_version") not in {"1.0", "1.1"}:
            # What one connection may cost is bounded for HTTP/1 alone.
            return JSONResponse({"error": "only HTTP/1.1 is spoken here"}, 505)
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > MAX_BODY_BYTES:
            return JSONResponse({"error": too_large().detail}, 413, {"Connection": "close"})
        host = headers.get("host", "")
        if path.startswith(_ANY_NAME) or self._is_ours(host):
            return None
        return JSONResponse(
            {
                "error": "this node does not answer to the name in the Host header: "
                "use its address, or set http.public_url to that name"
            },
            421,
        )

    def _is_ours(self, host: str) -> bool:
        name = _without_port(host).lower().rstrip(".")
        if name in self._allowed:
            return True
        try:
            # An attack by DNS rebinding needs a name of the attacker's; an address cannot be rebound.
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _protect(headers: MutableHeaders, path: str) -> None:
    content = path.startswith(_CONTENT)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Content-Security-Policy"] = _CONTENT_POLICY if content else _PAGE_POLICY
    if not content:
        headers["X-Frame-Options"] = "DENY"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers.setdefault("Cache-Control", "no-cache")
