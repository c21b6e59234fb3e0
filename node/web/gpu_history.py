"""The GPUs over the last hours, for the charts of the dashboard. The operator's."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def gpu_history_routes(history: Callable[[], dict[str, Any]]) -> list[Route]:
    """Return the route; ``history`` gives the samples as JSON values."""

    async def samples(_request: Request) -> Response:
        return JSONResponse(history(), headers={"Cache-Control": "no-store"})

    return [Route("/api/v1/gpus/history", samples)]
