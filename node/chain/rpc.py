"""One JSON-RPC endpoint over HTTP: requests out, raw results in, every failure as one of our errors.

Uses web3's AsyncHTTPProvider without its middleware and formatters, which cost ten times more per log than
the request itself. Owns the HTTP session (kept alive, bounded in time and size); knows no contracts.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from eth_typing import URI
from web3.exceptions import Web3Exception
from web3.providers.rpc import AsyncHTTPProvider
from web3.types import RPCEndpoint

from node.chain.hexadecimal import BadReply
from node.errors import Misconfigured, Retryable, Unreachable

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""A reply larger than this is cut off: ask for fewer blocks instead."""

_MAX_ERROR_BYTES = 4096
_TRANSPORT_ERRORS = (aiohttp.ClientError, TimeoutError, OSError, Web3Exception)


class RpcError(Retryable):
    """The endpoint understood the request and refused it; ``code``, ``message``, ``data`` as it sent them."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"the RPC endpoint refused: {message} (code {code})")
        self.code = code
        self.message = message
        self.data = data


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
            if size > MAX_REPLY_BYTES:
                raise aiohttp.ClientPayloadError(f"the reply exceeds {MAX_REPLY_BYTES} bytes")
            parts.append(part)
        return b"".join(parts)


class Rpc:
    """One endpoint. Belongs to the event loop of its first call; ``close`` it when done."""

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Misconfigured(f"RPC endpoint {url!r} must be an http:// or https:// address")
        # Paths and user names of endpoints hold API keys: only the host is ever shown.
        self.name = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(timeout_s, 5.0))
        self._provider = AsyncHTTPProvider(
            URI(url), request_kwargs={"timeout": self._timeout}, exception_retry_configuration=None
        )
        self._url = url
        self._headers = self._provider.get_request_headers()
        self._session: aiohttp.ClientSession | None = None

    async def call(self, method: str, params: Sequence[object]) -> Any:
        """Return the raw ``result`` of one request.

        Raises RpcError when the endpoint refuses, BadReply when its answer is no JSON-RPC answer, and
        Unreachable when there is none within the time limit.
        """
        request = self._provider.encode_rpc_request(RPCEndpoint(method), list(params))
        try:
            async with self._connected().post(self._url, data=request, headers=self._headers) as reply:
                reply.raise_for_status()
                raw = await reply.read()
            response: Any = self._provider.decode_rpc_response(raw)
        except _TRANSPORT_ERRORS as error:
            raise Unreachable(
                f"RPC endpoint {self.name} did not answer {method}: {type(error).__name__}{_short(error)}"
            ) from error
        except (ValueError, RecursionError) as error:
            raise BadReply(
                f"RPC endpoint {self.name} answered {method} with something that is not JSON"
            ) from error
        if not isinstance(response, dict):
            raise BadReply(f"RPC endpoint {self.name} answered {method} with no JSON-RPC object")
        failure = response.get("error")
        if failure is not None:
            raise _rpc_error(failure)
        if "result" not in response:
            raise BadReply(f"RPC endpoint {self.name} answered {method} without a result")
        return response["result"]

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _connected(self) -> aiohttp.ClientSession:
        # Our own session: web3's closes the connection after each request, and guards it with a lock taken in
        # threads, which a cancelled caller leaves locked, so that the process never ends.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                response_class=_Reply,
                connector=aiohttp.TCPConnector(limit=8, keepalive_timeout=30.0),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _rpc_error(failure: Any) -> RpcError:
    if not isinstance(failure, dict):
        return RpcError(0, str(failure)[:_MAX_ERROR_BYTES])
    code = failure.get("code")
    message = str(failure.get("message", "no message"))[:_MAX_ERROR_BYTES]
    return RpcError(code if isinstance(code, int) else 0, message, failure.get("data"))


def _short(error: BaseException) -> str:
    text = getattr(error, "message", "") or ""
    status = getattr(error, "status", None)
    if status is not None:
        return f" (HTTP {status})"
    return f" ({text})" if text else ""
