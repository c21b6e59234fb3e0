"""What a job leaves on this machine beside what is published, for its operator: stills and log lines."""

import asyncio
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from node.job.outputs import image_path
from node.web.answers import Complete, Growing
from node.web.routes import Access, Operation
from node.web.status import StatusSource

MAX_STILL_BYTES: Final = 32 << 20
MAX_LINES: Final = 200
_JOB_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER: Final = re.compile(r"[1-9]")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_JOB: Final = "this node knows no job of that id"


class Stills(StatusSource, Protocol):
    """A status source that knows where the stills of unpublished jobs are."""

    def still(self, job_id: str, number: int) -> tuple[Path, str] | None:
        """Return the job's folder and the path from there of still ``number``, None if there is none."""
        ...


JobLines = Callable[[str, int], list[dict[str, Any]]]
"""Returns the last lines that name a job, oldest first. Reads the record of the log and raises OSError."""


class LogLine(Growing):
    """One line, without secrets; what else it says stands beside these."""

    event: str


class LogLines(Complete):
    """A job's last lines."""

    lines: list[LogLine]


def job_file_table(source: Stills, job_lines: JobLines) -> tuple[Operation, ...]:
    """Return the operations: a still before its publication, and logs."""
    # The record may have to be read to its end: many viewers must not do that side by side.
    reading = asyncio.Lock()

    async def known(request: Request) -> dict[str, Any]:
        job_id = request.path_params["job_id"]
        job = await source.job(job_id) if _JOB_ID.fullmatch(job_id) else None
        if job is None:
            raise HTTPException(404, _NO_JOB)
        return job

    async def still(request: Request) -> Response:
        job, number = await known(request), request.path_params["number"]
        if not _NUMBER.fullmatch(number):
            raise HTTPException(404, "stills are numbered from 1 to 9")
        if job["cid"] is not None:
            return RedirectResponse(f"/ipfs/{job['cid']}/{image_path(int(number))}", 303)
        place = source.still(job["job_id"], int(number))
        content = await asyncio.to_thread(read_inside, *place) if place is not None else None
        if content is None:
            raise HTTPException(404, "this still does not exist yet")
        return Response(content, media_type="image/png", headers={"Cache-Control": "no-store"})

    async def lines(request: Request) -> Response:
        limit = request.query_params.get("limit", str(MAX_LINES))
        if not re.fullmatch(r"[0-9]{1,3}", limit) or not 1 <= int(limit) <= MAX_LINES:
            raise HTTPException(400, f"limit must be a whole number from 1 to {MAX_LINES}")
        job = await known(request)
        try:
            async with reading:
                found = await asyncio.to_thread(job_lines, job["job_id"], int(limit))
        except OSError as problem:
            raise HTTPException(503, f"the record of the log cannot be read: {problem.strerror}") from problem
        return JSONResponse({"lines": found}, headers={"Cache-Control": "no-store"})

    return (
        Operation(
            "/api/v1/jobs/{job_id}/stills/{number}",
            Access.OPERATOR,
            still,
            "A still as soon as it is rendered",
            answer="image/png",
            refusals=(404,),
            details="Once the job is published, 303 to the gateway. A job's `stills` tells which there are.",
        ),
        Operation(
            "/api/v1/jobs/{job_id}/logs",
            Access.OPERATOR,
            lines,
            "The last lines of the log that name a job, oldest first",
            answer=LogLines,
            query={"limit": f"how many, 1 to {MAX_LINES}; {MAX_LINES} without it"},
            refusals=(400, 404, 503),
        ),
    )


def read_inside(folder: Path, path: str) -> bytes | None:
    """Return a PNG file's bytes, None if there is none.

    The folder may be writable by a worker of another user: no link is followed on the way, and only a regular
    file of bounded size that begins like a PNG is read.
    """
    try:
        place = os.open(folder, _DIRECTORY)
    except OSError:
        return None
    try:
        *directories, name = Path(path).parts
        for directory in directories:
            below = os.open(directory, _DIRECTORY, dir_fd=place)
            os.close(place)
            place = below
        with os.fdopen(os.open(name, _FILE, dir_fd=place), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_STILL_BYTES:
                return None
            content = file.read(MAX_STILL_BYTES)
    except OSError:
        return None
    finally:
        os.close(place)
    return content if content.startswith(_PNG) else None
