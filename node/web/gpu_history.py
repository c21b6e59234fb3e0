"""The GPUs over the last hours, for the charts of the dashboard. The operator's."""

from collections.abc import Callable
from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from node.web.answers import Complete, Moment
from node.web.routes import Access, Operation


class CardHistory(Complete):
    """One card: a reading for each period, the peak of memory and temperature, the mean of the others."""

    index: int
    uuid: str
    name: str
    memory_total_mib: int
    power_limit_w: float | None
    slowdown_temperature_c: int | None
    memory_used_mib: list[int | None]
    utilisation_percent: list[int | None]
    temperature_c: list[int | None]
    power_w: list[int | None]


class GpuHistory(Complete):
    """All cards over the same periods; ``held_s`` is how far back they reach at most."""

    every_s: int
    held_s: int
    first_at: Moment = Field(alias="from")
    gpus: list[CardHistory]


def gpu_history_table(history: Callable[[], dict[str, Any]]) -> tuple[Operation, ...]:
    """Return the operation; ``history`` gives the samples as JSON values."""

    async def samples(_request: Request) -> Response:
        return JSONResponse(history(), headers={"Cache-Control": "no-store"})

    return (
        Operation(
            "/api/v1/gpus/history",
            Access.OPERATOR,
            samples,
            "GPU readings of the last hours, by card",
            answer=GpuHistory,
            details="Every list begins at `from` and goes on every `every_s`; null where nothing was read.",
        ),
    )
