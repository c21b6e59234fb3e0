"""One JSON-RPC endpoint over HTTP: requests out, raw results in, every failure as one of our errors.

Plain aiohttp without web3's provider, whose middleware and formatters cost ten times more per log than the
request itself. Owns the connections (kept alive, bounded in time and size); knows no contracts.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from node.chain import jsonrpc
from node.chain.jsonrpc import RateLimited, ReplyTooLarge, RpcError, TimedOut
from node.errors import Misconfigured, Unreachable

__all__ = ["Rpc", "RpcError", "endpoint_name"]

Ask = Callable[[str, Sequence[object]], Awaitable[Any]]
Greet = Callable[[Ask], Awaitable[None]]

_CONNECTIONS = 8
_CONNECT_S = 5.0
_KEPT_ALIVE_S = 30.0
_LONGEST_RETRY_AFTER_S = 300.0
_TRANSPORT_ERRORS = (aiohttp.ClientError, OSError)


def endpoint_name(url: str, schemes: frozenset[str]) -> str:
    """Return what may be shown of an endpoint's address; raises Misconfigured if it is none.

    Paths, queries and user names of endpoints hold API keys: only scheme, host and port are ever shown.
    """
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        allowed = " or ".join(f"{scheme}://" for scheme in sorted(schemes))
        raise Misconfigured(f"an RPC endpoint must be an {allowed} address with a host: check chain.rpc_urls")
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


class _Reply(aiohttp.ClientResponse):
    """Reads at most MAX_REPLY_BYTES, counted after decompression."""

    def raise_for_status(self) -> None:
        # Several services send a JSON-RPC error together with an HTTP error status: the former says more.
        if "json" not in self.headers.get("Content-Type", ""):
            super().raise_for_status()

    async def read(self) -> bytes:
        if self._body is None:
            try:
                self._body = await self._read_bounded()
            except BaseException:
                self.close()
                raise
        return self._body

    async def _read_bounded(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in self.content.iter_chunked(256 * 1024):
            size += len(part)
            if size > jsonrpc.MAX_REPLY_BYTES:
                raise _TooLarge
            parts.append(part)
        return b"".join(parts)


class _TooLarge(Exception):
    pass


class _Lane:
    """One connection at a time, so that what was learned about a connection is known of the next answer.

    ``opened`` counts the connections made, ``greeted`` says up to which of them the greeting was done.
    """

    def __init__(self) -> None:
        self.opened = 0
        self.greeted = 0
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_create_end.append(self._count)
        self.session = aiohttp.ClientSession(
            response_class=_Reply,
            connector=aiohttp.TCPConnector(limit=1, keepalive_timeout=_KEPT_ALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[tracing],
        )

    async def _count(self, *_: object) -> None:
        self.opened += 1


class Rpc:
    """One endpoint. Belongs to the event loop of its first call; ``close`` it when done.

    ``greet`` is called once for each new connection, with a way to ask over that connection; no answer that
    came over it is handed out before. What it raises is what the caller gets instead.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0, greet: Greet | None = None) -> None:
        self.name = endpoint_name(url, frozenset({"http", "https"}))
        self._url = url
        self._timeout_s = timeout_s
        self._greet = greet
        self._numbers = itertools.count(1)
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._free: list[_Lane] = []
        self._closings = 0

    async def call(self, method: str, params: Sequence[object], timeout_s: float | None = None) -> Any:
        """Return the raw ``result`` of one request.

        Raises RpcError when the endpoint refuses, BadReply when its answer is no JSON-RPC answer, RateLimited
        when it asks to wait, and Unreachable when there is no answer within the time limit.
        """
        limit = aiohttp.ClientTimeout(
            total=timeout_s or self._timeout_s, connect=min(timeout_s or self._timeout_s, _CONNECT_S)
        )
        async with self._slots:
            lane, closings = self._free.pop() if self._free else _Lane(), self._closings
            try:
                result = await self._greeted(lane, method, params, limit)
            finally:
                if closings != self._closings:
                    await lane.session.close()
                elif not lane.session.closed:
                    self._free.append(lane)
        return result

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        self._closings += 1
        lanes, self._free = self._free, []
        for lane in lanes:
            await lane.session.close()

    async def _greeted(
        self, lane: _Lane, method: str, params: Sequence[object], limit: aiohttp.ClientTimeout
    ) -> Any:
        refusal: RpcError | None = None
        result: Any = None
        try:
            result = await self._over(lane, limit, method, params)
        except RpcError as error:
            refusal = error
        if self._greet is not None and lane.greeted != lane.opened:
            try:
                await self._greet(partial(self._over, lane, limit))
            except BaseException:
                # The connection may lead elsewhere for as long as it lasts.
                await lane.session.close()
                raise
            lane.greeted = lane.opened
        if refusal is not None:
            raise refusal
        return result

    async def _over(
        self, lane: _Lane, limit: aiohttp.ClientTimeout, method: str, params: Sequence[object]
    ) -> Any:
        number = next(self._numbers)
        body = jsonrpc.request_text(number, method, params).encode()
        try:
            async with lane.session.post(
                self._url, data=body, headers={"Content-Type": "application/json"}, timeout=limit
            ) as reply:
                self._refuse_if_limited(reply, method)
                reply.raise_for_status()
                raw = await reply.read()
        except _TooLarge as error:
            raise ReplyTooLarge(
                f"RPC endpoint {self.name} did not answer {method} in {jsonrpc.MAX_REPLY_BYTES} bytes"
            ) from error
        except TimeoutError as error:
            raise TimedOut(
                f"RPC endpoint {self.name} did not answer {method} within {limit.total:g} s"
            ) from error
        except _TRANSPORT_ERRORS as error:
            raise Unreachable(
                f"RPC endpoint {self.name} did not answer {method}: {type(error).__name__}{_status(error)}"
            ) from error
        response = jsonrpc.parse(raw, name=self.name, method=method)
        return jsonrpc.result_of(response, number, name=self.name, method=method)

    def _refuse_if_limited(self, reply: aiohttp.ClientResponse, method: str) -> None:
        said = reply.headers.get("Retry-After")
        if reply.status == 429 or (reply.status == 503 and said is not None):
            raise RateLimited(
                f"RPC endpoint {self.name} did not answer {method}: too many requests (HTTP {reply.status})",
                retry_after_s(said),
            )


def retry_after_s(value: str | None) -> float | None:
    """Return the seconds a ``Retry-After`` header asks for (RFC 9110 10.2.3), five minutes at most."""
    if value is None:
        return None
    value = value.strip()
    if value.isdecimal() and value.isascii():
        return float(min(int(value[:9]), _LONGEST_RETRY_AFTER_S))
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0.0, (until - datetime.now(UTC)).total_seconds()), _LONGEST_RETRY_AFTER_S)


def _status(error: BaseException) -> str:
    status = getattr(error, "status", None)
    return "" if status is None else f" (HTTP {status})"
