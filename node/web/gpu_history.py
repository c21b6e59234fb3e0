"""The GPUs over the last hours, for the charts of the dashboard. The operator's."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from node.web.routes import Access, Operation


def gpu_history_table(history: Callable[[], dict[str, Any]]) -> tuple[Operation, ...]:
    """Return the operation; ``history`` gives the samples as JSON values."""

    async def samples(_request: Request) -> Response:
        return JSONResponse(history(), headers={"Cache-Control": "no-store"})

    return (
        Operation("/api/v1/gpus/history", Access.OPERATOR, samples, "GPU readings of the last hours, by card"),
    )
