"""The table of the HTTP interface: every path and method, who may ask for it, and what stands behind it.

The application is built from this table alone, and every operation names its access class: there is no way
to serve a path that nobody decided about.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

Endpoint = Callable[[Request], Awaitable[Response]]
CONTENT: Final = "/ipfs/"
"""Where published content is served."""


class Access(StrEnum):
    """Who gets an answer."""

    PUBLIC = "public"
    """Everybody gets the same."""
    SHARED = "shared"
    """Everybody gets the public part, the operator everything."""
    OPERATOR = "operator"
    """The operator alone."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. ``endpoint`` asks ``node.web.callers.is_operator`` where access is shared.

    A GET answers HEAD too. ``path`` is Starlette's form, such as ``/api/v1/jobs/{job_id}``. The rest is for
    the OpenAPI document: ``answer`` is the type of what is answered or a media type, ``public_answer`` what
    strangers get of a shared operation, ``takes`` the body, ``query`` the parameters with their meaning,
    ``refusals`` the statuses of its own refusals.
    """

    path: str
    access: Access
    endpoint: Endpoint
    summary: str
    method: str = "GET"
    answer: type[BaseModel] | str = "application/json"
    public_answer: type[BaseModel] | None = None
    takes: type[BaseModel] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()
    details: str = ""

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.method != "GET"

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it answers."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


@dataclass(frozen=True, slots=True)
class Content:
    """Published content, which everybody may have: routes of the gateway's own, below ``/ipfs/`` alone."""

    given: Sequence[BaseRoute]

    @property
    def routes(self) -> list[Route]:
        """The routes. Raises ValueError if one leads elsewhere."""
        found = []
        for route in self.given:
            if not isinstance(route, Route) or not route.path.startswith(CONTENT):
                raise ValueError(f"{route!r} is not below {CONTENT}: give it an access class as an Operation")
            found.append(route)
        return found


def by_path(operations: Iterable[Operation]) -> dict[str, dict[str, Operation]]:
    """Return the operations by path and method. Raises ValueError where two claim the same."""
    found: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        methods = found.setdefault(operation.path, {})
        for method in operation.methods:
            if method in methods:
                raise ValueError(f"{method} {operation.path} is in the table twice")
            methods[method] = operation
    return found


def everything(found: Iterable[Any]) -> None:
    """Raise ValueError if a route was added beside the table, so that no access class holds for it."""
    for route in found:
        if not isinstance(route, Route) or not getattr(route.app, "decides_access", False):
            path = getattr(route, "path", route)
            raise ValueError(f"{path} has no access class: add it to the table as an Operation")
