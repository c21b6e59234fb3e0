"""The operator's orders over HTTP, the same as the commands of that name; and the signed offer document."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from node.web.answers import Drained, Nothing, Offer
from node.web.bodies import read_object
from node.web.routes import Access, Operation

Order = Callable[[], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Orders:
    """What the web room may have the node do. ``offer`` returns the published document's very bytes."""

    drain: Order
    resume: Order
    offer: Callable[[], Awaitable[bytes | None]]

    def table(self) -> tuple[Operation, ...]:
        """Return the operations."""
        return (
            self._order("/api/v1/drain", self.drain, "Finish what was agreed, take no new jobs"),
            self._order("/api/v1/resume", self.resume, "Take jobs again"),
            Operation(
                "/api/v1/offer",
                Access.PUBLIC,
                self._offer,
                "The signed offer document, byte for byte as its CID has it",
                answer=Offer,
                refusals=(404,),
            ),
        )

    def _order(self, path: str, order: Order, summary: str) -> Operation:
        return Operation(path, Access.OPERATOR, _obey(order), summary, "POST", answer=Drained, takes=Nothing)

    async def _offer(self, _request: Request) -> Response:
        document = await self.offer()
        if document is None:
            raise HTTPException(404, "this node has no published offer: /api/v1/status tells its state")
        return Response(document, media_type="application/json")


def _obey(order: Order) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        if await read_object(request):
            raise HTTPException(400, _NOTHING)
        return JSONResponse(await order(), headers={"Cache-Control": "no-store"})

    return answer


_NOTHING: Final = "this takes no arguments: send {}"
