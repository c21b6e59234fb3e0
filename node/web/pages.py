"""The pages and their files: everything below ``static/``, kept in memory and told apart by its content.

A page is the same for everybody; what it shows it asks of the API, which knows who asks.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from node.web.routes import Access, Operation

MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_GZIP: Final = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?(?:,|\s|$))")


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    packed: bytes
    media_type: str
    tag: str

    def answer(self, request: Request) -> Response:
        # The browser asks each time and gets a few bytes while it is the same.
        headers = {"ETag": self.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == self.tag:
            return Response(status_code=304, headers=headers)
        headers["Content-Type"] = self.media_type
        if _GZIP.search(request.headers.get("accept-encoding", "")):
            return Response(self.packed, headers={**headers, "Content-Encoding": "gzip"})
        return Response(self.content, headers=headers)


class PageFiles:
    """All of them, read once."""

    def __init__(self) -> None:
        self._files: Final = _read_files()

    def answer(self, name: str, request: Request) -> Response:
        """Return a file. Raises HTTPException 404 if there is none of that name."""
        file = self._files.get(name)
        if file is None:
            raise HTTPException(404, "there is no such file")
        return file.answer(request)

    def table(self) -> tuple[Operation, ...]:
        """Return the operations of the pages below the first one, and of their files."""
        return (
            Operation("/jobs", Access.PUBLIC, self._jobs, "The page of all jobs", answer="text/html"),
            Operation("/jobs/{job_id}", Access.PUBLIC, self._job, "The page of one job", answer="text/html"),
            Operation(
                "/static/{name}",
                Access.PUBLIC,
                self._static,
                "Scripts and styles of the pages",
                answer="*/*",
                refusals=(404,),
            ),
        )

    async def _jobs(self, request: Request) -> Response:
        return self.answer("jobs.html", request)

    async def _job(self, request: Request) -> Response:
        return self.answer("job.html", request)

    async def _static(self, request: Request) -> Response:
        return self.answer(request.path_params["name"], request)


def _read_files() -> dict[str, _File]:
    found = {}
    for entry in (resources.files("node.web") / "static").iterdir():
        media_type = MEDIA_TYPES.get("." + entry.name.rpartition(".")[2])
        if media_type is not None:
            content = entry.read_bytes()
            # Weak, as the same tag stands for both encodings.
            tag = f'W/"{hashlib.sha256(content).hexdigest()[:20]}"'
            found[entry.name] = _File(content, gzip.compress(content, mtime=0), media_type, tag)
    return found
