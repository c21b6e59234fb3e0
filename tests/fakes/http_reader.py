"""A reader of an ASGI application, in process: no socket, the same messages a server would send."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Reader:
    """One HTTP exchange with the application; ``take`` decides how fast the body is read."""

    def __init__(
        self, app: Starlette, path: str, method: str = "GET", body: bytes | None = b"", **headers: str
    ) -> None:
        self._body: bytes | None = body
        self.answer = Answer()
        self.gone = asyncio.Event()
        self.read = asyncio.Event()
        self.read.set()
        self.arrived = asyncio.Condition()
        path, _, query = path.partition("?")
        sent = {"host": "localhost:8470"} | {name.replace("_", "-"): value for name, value in headers.items()}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8470),
        }
        self.exchange = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.read.wait()
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            self.answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            async with self.arrived:
                self.answer.body += message.get("body", b"")
                self.arrived.notify_all()

    async def until(self, text: str) -> str:
        """Wait until the body holds ``text``; return the body."""
        async with asyncio.timeout(60), self.arrived:
            await self.arrived.wait_for(lambda: text.encode() in self.answer.body)
        return self.answer.body.decode()


async def ask(
    app: Starlette, path: str, method: str = "GET", body: bytes | None = b"", **headers: str
) -> Answer:
    """Return the answer. ``body`` None: one is announced and never comes."""
    reader = Reader(app, path, method, body, **headers)
    await reader.exchange
    return reader.answer
