"""The trustless gateway: stored content over HTTP, as files, as pages, as single blocks and as CARs.

Answers from the block store alone and never asks the network. Every block is checked while it is sent; memory
stays at a few blocks per request. Source: the IPFS path gateway and trustless gateway specifications.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from node.errors import NodeError
from node.publisher.blockstore import BlockStore
from node.publisher.car import MEDIA_TYPE as CAR_TYPE
from node.publisher.car import write_car
from node.publisher.cid import RAW, BlockId, parse_cid
from node.publisher.dag import DirectoryNode, Entry, FileNode, Scope, load, parse, read_range, resolve, walk
from node.publisher.errors import BadContent, BlockMissing, CorruptBlock, InvalidCid, StoreUnavailable
from node.publisher.gateway_page import FILE_POLICY, PAGE_POLICY, Row, directory_page, media_type
from node.publisher.gateway_request import (
    RAW_TYPE,
    BadRequest,
    Representation,
    asked,
    byte_range,
    names_etag,
    path_names,
)

IMMUTABLE = "public, max-age=29030400, immutable"
PAGE_CACHE = "public, max-age=604800"
RESULT_FOLDER = "outputs"
"""The folder of a result whose pictures and videos the page of the result itself shows."""


def gateway_routes(store: BlockStore) -> list[BaseRoute]:
    """Return the routes ``/ipfs/{cid}`` and ``/ipfs/{cid}/{path}`` for GET and HEAD."""
    gateway = _Gateway(store)
    # Plain functions, not coroutines: Starlette runs them in its threads, where reading the disk may block.
    return [
        Route("/ipfs/{cid}", gateway.serve, methods=["GET"]),
        Route("/ipfs/{cid}/{path:path}", gateway.serve, methods=["GET"]),
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


class _Gateway:
    def __init__(self, store: BlockStore) -> None:
        self._store = store
        self._log = structlog.get_logger()

    def serve(self, request: Request) -> Response:
        try:
            return self._answer(request)
        except BadRequest as error:
            return _refusal(error.status, error)
        except (InvalidCid, BadContent) as error:
            return _refusal(400, error)
        except CorruptBlock as error:
            self._log.error("ipfs_block_corrupt", digest=error.key.hex(), problem=str(error))
            return _refusal(500, error)
        except BlockMissing as error:
            return _refusal(404, error)
        except StoreUnavailable as error:
            self._log.error("ipfs_store_unavailable", problem=str(error))
            return _refusal(503, error)

    def _answer(self, request: Request) -> Response:
        wanted = asked(request.query_params, request.headers.get("accept", ""))
        root = parse_cid(request.path_params["cid"])
        names = path_names(request.path_params.get("path", ""))
        trail = resolve(self._store, root, names)
        if trail is None:
            raise BadRequest(404, f"{root} has no entry {'/'.join(names)!r}")
        found = _Found(request, names, tuple(trail), self._store.get(trail[-1]))
        if wanted.representation is Representation.RAW:
            return self._raw(found)
        node = parse(found.target, found.block)
        if wanted.representation is Representation.CAR:
            return self._car(found, wanted.scope)
        return self._file(found, node) if isinstance(node, FileNode) else self._page(found, node)

    def _raw(self, found: _Found) -> Response:
        name = f"{found.target}.bin"
        headers = _headers(found, f'"{found.target}.raw"', IMMUTABLE) | _download(name)
        return _unchanged(found, headers) or Response(found.block, 200, headers, RAW_TYPE)

    def _car(self, found: _Found, scope: Scope) -> Response:
        etag = f'"{found.root}.{len(found.names)}.{found.target}.car.{scope}"'
        headers = _headers(found, etag, IMMUTABLE) | _download(f"{found.target}.car")
        kind = f"{CAR_TYPE}; version=1; order=dfs; dups=n"
        if unchanged := _unchanged(found, headers):
            return unchanged
        return self._stream(
            found, 200, headers, kind, write_car(found.target, self._car_blocks(found, scope))
        )

    def _car_blocks(self, found: _Found, scope: Scope) -> Iterator[tuple[BlockId, bytes]]:
        """Yield the blocks that prove the path, then those of its end, none twice."""
        parents = dict.fromkeys(found.trail[:-1])
        for block_id in parents:
            yield block_id, self._store.get(block_id)
        for block_id, block in walk(self._store, found.target, scope):
            if block_id not in parents:
                yield block_id, block

    def _file(self, found: _Found, node: FileNode) -> Response:
        etag = f'"{found.target}"'
        headers = _headers(found, etag, IMMUTABLE) | {
            "Accept-Ranges": "bytes",
            "Content-Security-Policy": FILE_POLICY,
        }
        if unchanged := _unchanged(found, headers):
            return unchanged
        asked_range = found.request.headers.get("range")
        if_range = found.request.headers.get("if-range")
        try:
            span = byte_range(asked_range, node.size_bytes) if if_range in {None, etag} else None
        except BadRequest as error:
            return _refusal(error.status, error, {"Content-Range": f"bytes */{node.size_bytes}"})
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
        address = found.request.scope.get("root_path", "") + found.path
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
        return StreamingResponse(self._logged(found, pieces), status, headers, kind)

    def _logged(self, found: _Found, pieces: Iterable[bytes]) -> Iterator[bytes]:
        try:
            yield from pieces
        except NodeError as error:
            # The status line is gone already: raising is what makes the server cut the connection, so that
            # the client cannot take the part it has for the whole.
            self._log.error("ipfs_answer_broken_off", path=found.path, problem=str(error))
            raise


def _headers(found: _Found, etag: str, cache: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Content-Length, Content-Range, ETag, X-Ipfs-Path, X-Ipfs-Roots",
        "Cache-Control": cache,
        "ETag": etag,
        "Vary": "Accept",
        "X-Content-Type-Options": "nosniff",
        "X-Ipfs-Path": found.path,
        "X-Ipfs-Roots": ",".join(block_id.to_cid() for block_id in found.trail),
    }


def _download(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _unchanged(found: _Found, headers: dict[str, str]) -> Response | None:
    if names_etag(found.request.headers.get("if-none-match"), headers["ETag"]):
        return Response(None, 304, headers)
    return None


def _refusal(status: int, error: NodeError, headers: dict[str, str] | None = None) -> Response:
    fixed = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    return PlainTextResponse(f"{error}\n", status, fixed | (headers or {}))
