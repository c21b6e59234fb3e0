"""A Kubo daemon and a pinning service over real HTTP, with faults that a test switches on.

They speak what is documented (Kubo's RPC reference; IPFS Pinning Service API 1.0.0), know nothing of the
node's own code but how a CAR and a CID are written, and keep a log of what they were asked.
"""

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from node.publisher.cid import RAW, BlockId, parse_cid, read_block_id
from node.publisher.dag import children, parse
from node.publisher.varint import decode_varint, encode_varint

OTHER_CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
DELEGATE = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWLeKPDWkZ2kZDdVjq1N3dDgWg7i6WSvxAvTgZvDzDnS9n"
SLOW_BYTES_PER_S = 10_000
PIECE = 2_500
MOVED_BYTES = 64 << 20


def read_car(data: bytes) -> tuple[BlockId, dict[BlockId, bytes]]:
    """Return the one root and the blocks of a CAR, every hash checked."""
    length, offset = decode_varint(data)
    header = data[offset : offset + length]
    link = header.index(b"\xd8\x2a\x58\x25\x00") + 5
    root, _ = read_block_id(header[link : link + 36])
    blocks, place = {}, offset + length
    while place < len(data):
        length, taken = decode_varint(data[place : place + 10])
        section = data[place + taken : place + taken + length]
        block_id, cid_bytes = read_block_id(section)
        if hashlib.sha256(section[cid_bytes:]).digest() != block_id.digest:
            raise ValueError("a block has the wrong hash")
        blocks[block_id] = section[cid_bytes:]
        place += taken + length
    return root, blocks


def make_car(root: BlockId, blocks: dict[BlockId, bytes]) -> bytes:
    """Return the CAR of everything below a root, depth first. Raises KeyError for a missing block."""
    link = b"\x00" + root.to_bytes()
    header = b"\xa2\x65roots\x81\xd8\x2a\x58" + bytes([len(link)]) + link + b"\x67version\x01"
    out = [encode_varint(len(header)) + header]
    pending, seen = [root], set()
    while pending:
        block_id = pending.pop()
        if block_id in seen:
            continue
        seen.add(block_id)
        block = blocks[block_id]
        section = block_id.to_bytes() + block
        out.append(encode_varint(len(section)) + section)
        if block_id.codec != RAW:
            pending += reversed(children(parse(block_id, block)))
    return b"".join(out)


class Service:
    """What both have: blocks, a gateway that serves them, a fault, and the requests so far."""

    def __init__(self) -> None:
        self.blocks: dict[BlockId, bytes] = {}
        self.pinned: set[str] = set()
        self.fault = ""
        self.says: tuple[int, bytes] | None = None
        """A status and a body that everything is answered with."""
        self.cut = asyncio.Event()
        """Set when somebody goes who was answered a byte at a time (``trickles``)."""
        self.all_asked: asyncio.Barrier | None = None
        """Answers wait until as many services as it takes were asked."""
        self.asked: list[str] = []
        self.served: set[str] = set()
        """The CIDs whose whole and right CAR was sent to somebody."""
        self.url = ""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30, middlewares=[self._before])
        app.router.add_get("/ipfs/{cid}", self._gateway)
        return app

    @web.middleware
    async def _before(self, request: web.Request, handler):
        self.asked.append(f"{request.method} {request.path}")
        if self.fault == "down":
            request.transport.abort()
            return web.Response()
        if self.fault == "hangs":
            await asyncio.sleep(3600)
        if self.fault == "trickles":
            return await self._trickle(request)
        if self.says is not None:
            return web.Response(status=self.says[0], body=self.says[1])
        if self.all_asked is not None:
            barrier, self.all_asked = self.all_asked, None
            await barrier.wait()
        if self.fault == "401" and not request.path.startswith("/ipfs/"):
            return web.Response(status=401, text="no")
        try:
            return await handler(request)
        except ConnectionError:
            return web.Response(status=500)  # nobody is there any more to read it

    async def _trickle(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/vnd.ipld.car"})
        answer.content_length = 1 << 20  # not in chunks: who reads it waits for all of it
        try:
            await answer.prepare(request)
            while True:
                await answer.write(b" ")
                await asyncio.sleep(0.01)
        except ConnectionError:
            return answer
        finally:
            self.cut.set()

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        return await self._send_car(request, request.match_info["cid"])

    async def _send_car(self, request: web.Request, cid: str) -> web.StreamResponse:
        root = parse_cid(cid)
        if self.fault == "unreadable" or root not in self.blocks:
            return web.json_response({"Message": "block was not found locally", "Type": "error"}, status=500)
        data = make_car(root, self.blocks)
        if self.fault == "lies":
            data = data[:-1] + bytes([data[-1] ^ 1])
        answer = web.StreamResponse(headers={"Content-Type": "application/vnd.ipld.car; version=1"})
        await answer.prepare(request)
        step = PIECE if self.fault == "slow" else 1 << 16
        for start in range(0, len(data), step):
            if self.fault == "slow":
                await asyncio.sleep(step / SLOW_BYTES_PER_S)
            if self.fault == "cut" and start > 0:
                request.transport.abort()
                return answer
            await answer.write(data[start : start + step])
        await answer.write_eof()
        if self.fault != "lies":
            self.served.add(cid)
        return answer


class FakeKubo(Service):
    """Kubo's RPC and gateway on one port.

    ``fault``: ``down``, ``hangs``, ``401``, ``413``, ``busy``, ``full``, ``slow``, ``wrong cid``,
    ``unpinned``, ``unreadable``, ``lies``, ``old``, ``endless``, ``html``, ``moved`` (and then sends
    ``MOVED_BYTES``), ``moved nowhere``, or ``cut after N`` bytes of an upload. ``secret``: the Authorization
    header that is demanded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.secret: str | None = None
        self.headers: list[str] = []
        self.names: list[str | None] = []
        self.received_bytes = 0
        self.sent_bytes = 0

    def app(self) -> web.Application:
        app = super().app()
        for path, handler in {
            "version": self._version,
            "dag/import": self._import,
            "dag/export": self._export,
            "pin/ls": self._pins,
            "pin/rm": self._unpin,
        }.items():
            app.router.add_post(f"/api/v0/{path}", self._authorised(handler))
        return app

    def _authorised(self, handler):
        async def checked(request: web.Request) -> web.StreamResponse:
            if self.secret is not None and request.headers.get("Authorization") != self.secret:
                return web.Response(status=401, text="credentials")
            return await handler(request)

        return checked

    async def _version(self, request: web.Request) -> web.StreamResponse:
        if self.fault == "moved nowhere":
            return web.Response(status=302, headers={"Location": "http://[::1"})
        if self.fault == "moved":
            answer = web.StreamResponse(status=302, headers={"Location": f"{self.url}/api/v0/version"})
            await answer.prepare(request)
            while self.sent_bytes < MOVED_BYTES:
                await answer.write(b" " * (1 << 20))
                self.sent_bytes += 1 << 20
            return answer
        if self.fault == "html":
            return web.Response(text="<html>", content_type="text/html")
        if self.fault == "endless":
            return web.Response(body=b" " * (1 << 20))
        return web.json_response({"Version": "0.9.1" if self.fault == "old" else "0.43.1", "Commit": ""})

    async def _import(self, request: web.Request) -> web.StreamResponse:
        if self.fault == "413":
            return web.Response(status=413, text="too large")
        if self.fault == "busy":
            return web.Response(status=429, headers={"Retry-After": "7"})
        cut = re.fullmatch(r"cut after (\d+)", self.fault)
        body = bytearray()
        async for piece in request.content.iter_chunked(PIECE):
            body += piece
            self.received_bytes += len(piece)
            if cut and len(body) >= int(cut[1]):
                request.transport.abort()
                return web.Response()
            if self.fault == "slow":
                await asyncio.sleep(len(piece) / SLOW_BYTES_PER_S)
        boundary = re.search(r'boundary="?([^";]+)', request.headers["Content-Type"])[1].encode()
        head, _, rest = bytes(body).partition(b"\r\n\r\n")
        data = rest[: rest.rindex(b"\r\n--" + boundary)]
        self.headers += [f"{name}: {value}" for name, value in request.headers.items()]
        self.headers += head.decode().splitlines()
        self.names += re.findall(r' filename="([^"]*)"', head.decode())
        if self.fault == "full":
            message = "write /data/ipfs/blocks/put-1: no space left on device"
            return web.json_response({"Message": message, "Code": 0, "Type": "error"}, status=500)
        root, blocks = read_car(data)
        make_car(root, self.blocks | blocks)
        cid = OTHER_CID if self.fault == "wrong cid" else root.to_cid()
        self.blocks |= blocks
        problem = "pin: lock" if self.fault == "unpinned" else ""
        if not problem:
            self.pinned.add(cid)
        return web.Response(text=json.dumps({"Root": {"Cid": {"/": cid}, "PinErrorMsg": problem}}) + "\n")

    async def _export(self, request: web.Request) -> web.StreamResponse:
        return await self._send_car(request, request.query["arg"])

    async def _pins(self, request: web.Request) -> web.StreamResponse:
        cid = request.query["arg"]
        if cid not in self.pinned:
            message = f"path '/ipfs/{cid}' is not pinned"
            return web.json_response({"Message": message, "Code": 0, "Type": "error"}, status=500)
        return web.json_response({"Keys": {cid: {"Type": "recursive"}}})

    async def _unpin(self, request: web.Request) -> web.StreamResponse:
        self.pinned.remove(request.query["arg"])
        return web.json_response({"Pins": [request.query["arg"]]})


class FakePinningService(Service):
    """A pinning service that fetches what it is asked for from ``source``, a gateway.

    ``fault``: ``down``, ``hangs``, ``401``, ``402``, ``413``, ``429``, ``queued``, ``fails``, ``wrong cid``,
    ``unreadable``, ``lies``, ``endless``.
    """

    def __init__(self, source: str = "") -> None:
        super().__init__()
        self.source = source
        self.token = "token"
        self.requests: dict[str, dict] = {}
        self.wishes: list[dict] = []
        self.delegates: list = [DELEGATE]
        self.polls_until_pinned = 1
        self._polls: dict[str, int] = {}

    def app(self) -> web.Application:
        app = super().app()
        app.router.add_post("/psa/pins", self._checked(self._add))
        app.router.add_get("/psa/pins", self._checked(self._list))
        app.router.add_get("/psa/pins/{id}", self._checked(self._one))
        app.router.add_post("/psa/pins/{id}", self._checked(self._add))
        return app

    def _checked(self, handler):
        async def checked(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization") != f"Bearer {self.token}":
                return self._failure(401, "UNAUTHORIZED", "wrong token")
            if self.fault in {"402", "413"} and request.method == "POST":
                return self._failure(int(self.fault), "INSUFFICIENT_FUNDS", "more than the plan allows")
            if self.fault == "429":
                answer = self._failure(429, "TOO_MANY_REQUESTS", "slow down")
                answer.headers["Retry-After"] = "9"
                return answer
            if self.fault == "endless":
                return web.Response(body=b" " * (1 << 20))
            return await handler(request)

        return checked

    def _failure(self, status: int, reason: str, details: str) -> web.Response:
        return web.json_response({"error": {"reason": reason, "details": details}}, status=status)

    async def _add(self, request: web.Request) -> web.StreamResponse:
        wish = await request.json()
        self.wishes.append(wish)
        if "id" in request.match_info:
            self.requests.pop(request.match_info["id"])
        number = f"r/{len(self.wishes)}"
        pin = wish | {"cid": OTHER_CID} if self.fault == "wrong cid" else wish
        self.requests[number] = {
            "requestid": number,
            "status": "queued",
            "created": "2026-01-01T00:00:00Z",
            "pin": pin,
            "delegates": self.delegates,
        }
        return web.json_response(self.requests[number], status=202)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        wanted = request.query.get("status", "pinned").split(",")
        found = [
            status
            for status in reversed(self.requests.values())
            if status["status"] in wanted and request.query.get("cid") in {None, status["pin"]["cid"]}
        ]
        return web.json_response({"count": len(found), "results": found[: int(request.query["limit"])]})

    async def _one(self, request: web.Request) -> web.StreamResponse:
        status = self.requests[request.match_info["id"]]
        polls = self._polls[status["requestid"]] = self._polls.get(status["requestid"], 0) + 1
        if self.fault == "fails":
            status |= {"status": "failed", "info": {"status_details": "no provider found"}}
        elif status["status"] == "queued" and self.fault != "queued" and polls >= self.polls_until_pinned:
            with contextlib.suppress(aiohttp.ClientError):
                await self._fetch(status["pin"]["cid"])
                status["status"] = "pinned"
                self.pinned.add(status["pin"]["cid"])
        return web.json_response(status)

    async def _fetch(self, cid: str) -> None:
        if self.source:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.source}/ipfs/{cid}?format=car") as answer,
            ):
                _, blocks = read_car(await answer.read())
                self.blocks |= blocks


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[Service]:
    """Serve on a free port of this machine."""
    runner = web.AppRunner(service.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
