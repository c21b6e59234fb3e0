"""The trustless gateway: stored content over HTTP, as files, as pages, as single blocks and as CARs.

Answers from the block store alone and never asks the network. Every block is checked while it is sent; memory
stays at a few blocks per request. Source: the IPFS path gateway and trustless gateway specifications.
"""

import string
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import structlog
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import BaseRoute, Route
from starlette.types import Send

from node.errors import NodeError
from node.publisher.blockstore import BlockStore
from node.publisher.car import write_car
from node.publisher.cid import RAW, BlockId, parse_cid, parse_inline_cid
from node.publisher.dag import DirectoryNode, Entry, FileNode, load, parse, read_range, resolve
from node.publisher.errors import BadContent, BlockMissing, CorruptBlock, InvalidCid, StoreUnavailable
from node.publisher.gateway_car import CarShape
from node.publisher.gateway_page import FILE_POLICY, PAGE_POLICY, Row, directory_page, media_type
from node.publisher.gateway_request import (
    RAW_TYPE,
    Asked,
    BadRequest,
    Representation,
    asked,
    byte_range,
    names_etag,
    path_names,
)
from node.publisher.names import MAX_NAME_BYTES
from node.publisher.seldom import Seldom

IMMUTABLE = "public, max-age=29030400, immutable"
PAGE_CACHE = "public, max-age=604800"
RETRY_AFTER_S = 30
METHODS = "GET, HEAD, OPTIONS"
FOREIGN_PAGES = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": METHODS,
    "Access-Control-Allow-Headers": "Content-Type, Range, User-Agent, X-Requested-With",
    "Access-Control-Expose-Headers": "Content-Length, Content-Range, ETag, X-Ipfs-Path, X-Ipfs-Roots",
}
"""In every answer, refusals too: scripts of any page may read what anybody may fetch."""
PREFLIGHT_S = 86_400
_PLAIN = frozenset(string.ascii_letters + string.digits + " !#$&'()+,-.;=@[]^_`{}~")
RESULT_FOLDER = "outputs"
"""The folder of a result whose pictures and videos the page of the result itself shows."""


def gateway_routes(store: BlockStore) -> list[BaseRoute]:
    """Return the routes ``/ipfs/{cid}`` and ``/ipfs/{cid}/{path}`` for GET, HEAD and OPTIONS."""
    gateway = _Gateway(store)
    # Plain functions, not coroutines: Starlette runs them in its threads, where reading the disk may block.
    return [
        Route("/ipfs/{cid}", gateway.serve, methods=["GET", "OPTIONS"]),
        Route("/ipfs/{cid}/{path:path}", gateway.serve, methods=["GET", "OPTIONS"]),
    ]


@dataclass(frozen=True, slots=True)
class _Found:
    """A request whose path leads to a stored block. ``trail`` are the blocks from the root to it."""

    request: Request
    names: tuple[str, ...]
    trail: tuple[BlockId, ...]
    block: bytes

    @property
    def root(self) -> BlockId:
        return self.trail[0]

    @property
    def target(self) -> BlockId:
        return self.trail[-1]

    @property
    def title(self) -> str:
        return "/".join((self.root.to_cid(), *self.names))

    @property
    def path(self) -> str:
        return "/ipfs/" + quote(self.title)

    @property
    def public_path(self) -> str:
        """The path as clients see it, behind whatever the node is mounted under."""
        return str(self.request.scope.get("root_path", "")) + self.path

    @property
    def with_slash(self) -> str:
        query = self.request.url.query
        return f"{self.public_path}/{'?' if query else ''}{query}"

    def location(self, representation: Representation) -> str:
        """Return the address that names the representation by itself."""
        query = {name: text for name, text in self.request.query_params.items() if name != "format"}
        return f"{self.public_path}?{urlencode({'format': representation.value, **query})}"


class _Breakable(StreamingResponse):
    """An answer whose connection is cut where its content breaks off.

    The status line is gone by then: leaving out the end is what makes the server cut, so that the client
    cannot take the part it has for the whole.
    """

    async def stream_response(self, send: Send) -> None:
        """Send the answer as far as it goes."""
        with suppress(NodeError):
            await super().stream_response(send)


class _Gateway:
    def __init__(self, store: BlockStore) -> None:
        self._store = store
        self._seldom = Seldom()
        self._log = structlog.get_logger()

    def serve(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            response = Response(None, 204, {"Allow": METHODS, "Access-Control-Max-Age": str(PREFLIGHT_S)})
        else:
            response = self._answer_or_refusal(request)
        response.headers.update(FOREIGN_PAGES)
        return response

    def _answer_or_refusal(self, request: Request) -> Response:
        try:
            return self._answer(request)
        except BadRequest as error:
            return _refusal(error.status, error)
        except (InvalidCid, BadContent) as error:
            return _refusal(400, error)
        except CorruptBlock as error:
            if self._seldom.due(error.key):
                self._log.error("ipfs_block_corrupt", digest=error.key.hex(), problem=str(error))
            return _refusal(500, error)
        except BlockMissing as error:
            return _refusal(404, error)
        except StoreUnavailable as error:
            self._log.error("ipfs_store_unavailable", problem=str(error))
            return _refusal(503, error, {"Retry-After": str(RETRY_AFTER_S)})

    def _answer(self, request: Request) -> Response:
        if request.headers.get("service-worker") == "script":
            raise BadRequest(400, "no service worker is served from here")
        wanted = asked(request.query_params, request.headers.get("accept", ""))
        names = path_names(request.path_params.get("path", ""))
        inline = parse_inline_cid(request.path_params["cid"])
        root = inline or parse_cid(request.path_params["cid"])
        asks_store = "only-if-cached" in request.headers.get("cache-control", "") and inline is None
        if asks_store and not self._store.has(root):
            return Response(None, 412)
        trail = resolve(self._store, root, names) if inline is None else None if names else [inline]
        if trail is None:
            raise BadRequest(404, f"{root} has no entry {'/'.join(names)!r}")
        block = self._store.get(trail[-1]) if inline is None else inline.digest
        found = _Found(request, names, tuple(trail), block)
        response = self._represent(found, wanted)
        if wanted.negotiated:
            response.headers["Content-Location"] = found.location(wanted.representation)
        return response

    def _represent(self, found: _Found, wanted: Asked) -> Response:
        if wanted.representation is Representation.RAW:
            return self._raw(found)
        node = parse(found.target, found.block)
        if wanted.representation is Representation.CAR:
            return self._car(found, CarShape(wanted, node))
        if isinstance(node, FileNode):
            return self._file(found, node)
        if not found.request.url.path.endswith("/"):
            return RedirectResponse(found.with_slash, 301, {"Cache-Control": IMMUTABLE})
        return self._page(found, node)

    def _raw(self, found: _Found) -> Response:
        headers = _headers(found, f'"{found.target}.raw"', IMMUTABLE)
        headers |= {"Accept-Ranges": "bytes", **_disposition(found, f"{found.target}.bin")}
        if unchanged := _unchanged(found, headers):
            return unchanged
        span = self._span(found, headers, len(found.block))
        if isinstance(span, Response):
            return span
        if span is None:
            return Response(found.block, 200, headers, RAW_TYPE)
        first, length = span
        headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{len(found.block)}"
        return Response(found.block[first : first + length], 206, headers, RAW_TYPE)

    def _car(self, found: _Found, shape: CarShape) -> Response:
        etag = f'"{found.root}.{len(found.names)}.{found.target}.car.{shape}"'
        headers = _headers(found, etag, IMMUTABLE) | _disposition(found, f"{found.target}.car")
        headers["Accept-Ranges"] = "none"
        if unchanged := _unchanged(found, headers):
            return unchanged
        blocks = shape.blocks(self._store, found.trail)
        return self._stream(found, 200, headers, shape.media_type, write_car(found.target, blocks))

    def _span(
        self, found: _Found, headers: dict[str, str], size_bytes: int
    ) -> tuple[int, int] | Response | None:
        """Return the part that a Range header asks for, None for everything, or the refusal."""
        if_range = found.request.headers.get("if-range")
        if if_range not in {None, headers["ETag"]}:
            return None
        try:
            return byte_range(found.request.headers.get("range"), size_bytes)
        except BadRequest as error:
            return _refusal(error.status, error, {"Content-Range": f"bytes */{size_bytes}"})

    def _file(self, found: _Found, node: FileNode) -> Response:
        headers = _headers(found, f'"{found.target}"', IMMUTABLE) | {
            "Accept-Ranges": "bytes",
            "Content-Security-Policy": FILE_POLICY,
            **_disposition(found),
        }
        if unchanged := _unchanged(found, headers):
            return unchanged
        span = self._span(found, headers, node.size_bytes)
        if isinstance(span, Response):
            return span
        first, length = span or (0, node.size_bytes)
        head = b"".join(read_range(self._store, node, 0, min(16, node.size_bytes)))
        kind = media_type(found.names[-1] if found.names else "", head)
        headers["Content-Length"] = str(length)
        if span:
            headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{node.size_bytes}"
        pieces = read_range(self._store, node, first, length)
        return self._stream(found, 206 if span else 200, headers, kind, pieces)

    def _page(self, found: _Found, node: DirectoryNode) -> Response:
        headers = _headers(found, f'W/"{found.target}.page"', PAGE_CACHE)
        headers["Content-Security-Policy"] = PAGE_POLICY
        if unchanged := _unchanged(found, headers):
            return unchanged
        rows = [self._row(entry) for entry in node.entries]
        shown = [row for row in rows if not row.is_directory]
        results = node.find(RESULT_FOLDER)
        if results is not None and results.block_id.codec != RAW:
            below = load(self._store, results.block_id)
            if isinstance(below, DirectoryNode):
                inner = [self._row(entry, f"{RESULT_FOLDER}/") for entry in below.entries]
                shown += [row for row in inner if not row.is_directory]
        address = found.public_path
        return HTMLResponse(directory_page(address, "/ipfs/" + found.title, rows, shown), 200, headers)

    def _row(self, entry: Entry, folder: str = "") -> Row:
        name = folder + entry.name
        if entry.block_id.codec == RAW:
            return Row(name, is_directory=False, size_bytes=entry.tsize_bytes)
        node = load(self._store, entry.block_id)
        if isinstance(node, FileNode):
            return Row(name, is_directory=False, size_bytes=node.size_bytes)
        return Row(name, is_directory=True, size_bytes=entry.tsize_bytes)

    def _stream(
        self, found: _Found, status: int, headers: dict[str, str], kind: str, pieces: Iterable[bytes]
    ) -> Response:
        if found.request.method == "HEAD":
            response = Response(None, status, headers, kind)
            if "Content-Length" not in headers:
                del response.headers["content-length"]  # the length of a CAR is not known before it is sent
            return response
        return _Breakable(self._logged(found, pieces), status, headers, kind)

    def _logged(self, found: _Found, pieces: Iterable[bytes]) -> Iterator[bytes]:
        try:
            yield from pieces
        except NodeError as error:
            broken = error.key if isinstance(error, BlockMissing) else found.target.digest
            if self._seldom.due(broken):
                self._log.warning("ipfs_answer_broken_off", path=found.path, problem=str(error))
            raise


def _headers(found: _Found, etag: str, cache: str) -> dict[str, str]:
    return {
        "Cache-Control": cache,
        "ETag": etag,
        "Vary": "Accept",
        "X-Content-Type-Options": "nosniff",
        "X-Ipfs-Path": found.path,
        "X-Ipfs-Roots": ",".join(block_id.to_cid() for block_id in found.trail),
    }


def _disposition(found: _Found, usual: str = "") -> dict[str, str]:
    """Return how a client is to save an answer: ``usual`` is the name of what is never to be shown."""
    query = found.request.query_params
    name = query.get("filename", "")[:MAX_NAME_BYTES]
    kind = "attachment" if usual or query.get("download") == "true" else "inline"
    if not (usual or name or kind == "attachment"):
        return {}
    shown = "".join(one if one in _PLAIN else "_" for one in name or usual)
    value = f'{kind}; filename="{shown}"' if shown else kind
    if shown != (name or usual):
        value += f"; filename*=UTF-8''{quote(name, safe='')}"
    return {"Content-Disposition": value}


def _unchanged(found: _Found, headers: dict[str, str]) -> Response | None:
    if names_etag(found.request.headers.get("if-none-match"), headers["ETag"]):
        return Response(None, 304, headers)
    return None


def _refusal(status: int, error: NodeError, headers: dict[str, str] | None = None) -> Response:
    fixed = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    return PlainTextResponse(f"{error}\n", status, fixed | (headers or {}))
