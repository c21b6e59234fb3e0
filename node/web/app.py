"""The node's web application: health, metrics, JSON, live events, published content and one page.

Owns the table of routes and their answers. What they show comes from the engine through StatusSource;
published content and further operations are handed in.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from node.job.phase import Phase
from node.journal.ledger_rows import JobFilter
from node.observe.health import Health, HealthReport
from node.observe.metrics import Metrics
from node.types import Address
from node.web.answers import HealthAnswer, Job, Jobs, PublicJob, PublicStatus, Status
from node.web.callers import Callers, is_operator
from node.web.door import ContentDoor, Door
from node.web.events import EventStreams
from node.web.guard import Guard
from node.web.openapi import PATH as OPENAPI
from node.web.openapi import document
from node.web.pages import PageFiles
from node.web.public_view import public_job, public_status
from node.web.routes import Access, Content, Operation, by_path, everything
from node.web.server import Listener, listen, serve, serve_on
from node.web.signing_in import SigningIn
from node.web.status import StatusSource, wire

__all__ = ["Listener", "StatusSource", "build_app", "listen", "serve", "serve_on"]

MAX_JOBS: Final = 200
DEFAULT_JOBS: Final = 50
_JOB_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ADDRESS: Final = re.compile(r"0[xX][0-9a-fA-F]{40}")
_SECONDS: Final = re.compile(r"[0-9]{1,11}")
_JOBS_QUERY: Final = {
    "limit": f"how many, 1 to {MAX_JOBS}; {DEFAULT_JOBS} without it",
    "before": "a job_id: older ones than this",
    "phase": f"one of {', '.join(Phase)}",
    "requester": "jobs of this account, 0x and 40 hex digits",
    "since": "seen after this moment, in seconds since the Unix epoch",
}


def build_app(
    source: StatusSource,
    gateway: Sequence[BaseRoute],
    metrics: Metrics,
    health: Health,
    *,
    callers: Callers,
    signing_in: SigningIn,
    more: Sequence[Operation] = (),
    public_metrics: bool = False,
    allowed_hosts: Iterable[str] = (),
    max_event_clients: int = 64,
) -> Starlette:
    """Return the application. ``allowed_hosts`` are the names, without port, this node is reached under.

    ``callers`` tells the operator from strangers; ``more`` are operations of others. Raises ValueError if an
    operation stands in the table twice or a route has no access class.
    """
    pages = _Pages(source, metrics, health, EventStreams(source, max_clients=max_event_clients), signing_in)
    own = (*pages.table(public_metrics=public_metrics), *signing_in.table(), *more)
    content = Content(gateway)
    about = b""

    async def describe(_request: Request) -> Response:
        return Response(about, media_type="application/json")

    table = (*own, Operation(OPENAPI, Access.PUBLIC, describe, "This document"))
    about = json.dumps(document(table, content.routes)).encode()
    app = Starlette(
        routes=[
            *(Route(path, Door(methods, callers)) for path, methods in by_path(table).items()),
            *(Route(route.path, ContentDoor(route)) for route in content.routes),
        ],
        middleware=[Middleware(Guard, allowed_hosts=tuple(allowed_hosts))],
        exception_handlers={HTTPException: _http_error, Exception: _internal_error},
    )
    everything(app.routes)
    app.state.streams = pages.streams
    app.state.table = table
    return app


class _Pages:
    def __init__(
        self,
        source: StatusSource,
        metrics: Metrics,
        health: Health,
        streams: EventStreams,
        signing_in: SigningIn,
    ) -> None:
        self._signing_in: Final = signing_in
        self._source: Final = source
        self._metrics: Final = metrics
        self._health: Final = health
        self.streams: Final = streams
        self._files: Final = PageFiles()

    def table(self, *, public_metrics: bool) -> tuple[Operation, ...]:
        """Return what this application answers by itself."""
        public, shared, operator = Access.PUBLIC, Access.SHARED, Access.OPERATOR
        return (
            Operation("/livez", public, self.livez, "Whether it works", answer=HealthAnswer, refusals=(503,)),
            Operation(
                "/readyz", public, self.readyz, "Whether it earns", answer=HealthAnswer, refusals=(503,)
            ),
            Operation(
                "/metrics",
                public if public_metrics else operator,
                self.metrics,
                "Metrics for Prometheus",
                answer="text/plain",
            ),
            Operation(
                "/api/v1/status",
                shared,
                self.status,
                "The node's state",
                answer=Status,
                public_answer=PublicStatus,
            ),
            Operation(
                "/api/v1/jobs",
                operator,
                self.jobs,
                "Jobs, newest first",
                answer=Jobs,
                query=_JOBS_QUERY,
                refusals=(400,),
            ),
            Operation(
                "/api/v1/jobs/{job_id}",
                shared,
                self.job,
                "One job",
                answer=Job,
                public_answer=PublicJob,
                refusals=(404,),
            ),
            Operation(
                "/api/v1/events",
                operator,
                self.events,
                "Changes as they come",
                answer="text/event-stream",
                refusals=(503,),
                details="Types status and job, with the data of those routes; progress, with the part of "
                "a job that moves while it is rendered; and beat when all is quiet.",
            ),
            Operation("/", public, self.page, "The dashboard's page", answer="text/html"),
            *self._files.table(),
        )

    async def livez(self, _request: Request) -> Response:
        return _health(self._health.live())

    async def readyz(self, _request: Request) -> Response:
        return _health(self._health.ready())

    async def metrics(self, request: Request) -> Response:
        self._metrics.mirror(self._source.status())
        body, content_type = self._metrics.exposition(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    async def status(self, request: Request) -> Response:
        status = self._source.status()
        return JSONResponse(wire(status if is_operator(request) else public_status(status)))

    async def jobs(self, request: Request) -> Response:
        limit = _limit(request.query_params.get("limit"))
        before = request.query_params.get("before")
        if before is not None and (not _JOB_ID.fullmatch(before) or await self._source.job(before) is None):
            raise HTTPException(400, "before must be the job_id of a job of this node, such as j17")
        jobs = await self._source.jobs(limit, before, _chosen(request.query_params))
        more = jobs[-1]["job_id"] if len(jobs) == limit else None
        return JSONResponse({"jobs": wire(jobs), "next_before": more})

    async def job(self, request: Request) -> Response:
        job_id = request.path_params["job_id"]
        job = await self._source.job(job_id) if _JOB_ID.fullmatch(job_id) else None
        if job is None:
            raise HTTPException(404, "this node knows no job of that id")
        return JSONResponse(wire(job if is_operator(request) else public_job(job)))

    async def events(self, _request: Request) -> Response:
        return self.streams.response()

    async def page(self, request: Request) -> Response:
        if "token" in request.query_params:
            return self._signing_in.by_address(request)
        return self._files.answer("index.html", request)


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_JOBS
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_JOBS:
        raise HTTPException(400, f"limit must be a whole number from 1 to {MAX_JOBS}")
    return int(text)


def _chosen(query: Mapping[str, str]) -> JobFilter:
    phase, requester, since = (query.get(name) for name in ("phase", "requester", "since"))
    if phase is not None and phase not in set(Phase):
        raise HTTPException(400, f"phase must be one of {', '.join(Phase)}")
    if requester is not None and not _ADDRESS.fullmatch(requester):
        raise HTTPException(400, "requester must be 0x and 40 hex digits")
    if since is not None and not _SECONDS.fullmatch(since):
        raise HTTPException(400, "since must be whole seconds since 1970")
    return JobFilter(
        phase=phase,
        requester=Address(requester.lower()) if requester else None,
        since=float(since) if since else None,
    )


def _health(report: HealthReport) -> Response:
    return JSONResponse(report.to_json(), 200 if report.ok else 503, {"Cache-Control": "no-store"})


async def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _internal_error(request: Request, error: Exception) -> Response:
    structlog.get_logger().error("web_request_failed", path=request.url.path, problem=repr(error))
    return JSONResponse({"error": "the node failed to answer this request: its log says why"}, 500)
