"""One JSON-RPC endpoint over a WebSocket: the same calls as over HTTP, and pushes that a new block is there.

Pushes are wake-ups only: what they say is not read. A connection that ends fails the calls in flight at once;
the next call makes a new one. Facts: the ``eth_subscribe`` publish-subscribe API of geth.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp

from node.chain import jsonrpc
from node.chain.hexadecimal import BadReply
from node.chain.jsonrpc import TimedOut
from node.chain.rpc import Greet, endpoint_name
from node.errors import Unreachable

_CONNECT_S = 5.0
_PING_EVERY_S = 10.0
_CLOSING = aiohttp.ClientWSTimeout(ws_close=0.5)
_TRANSPORT_ERRORS = (aiohttp.ClientError, OSError, ConnectionError)


class WsRpc:
    """One endpoint. ``on_push`` is called for each push of a subscription; ``greet`` as for ``Rpc``."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        greet: Greet | None = None,
        on_push: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = endpoint_name(url, frozenset({"ws", "wss"}))
        self._url = url
        self._timeout_s = timeout_s
        self._greet = greet
        self._on_push = on_push
        self._numbers = itertools.count(1)
        self._connecting = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._connection: _Connection | None = None

    async def call(self, method: str, params: Sequence[object], timeout_s: float | None = None) -> Any:
        """Return the raw ``result`` of one request; raises as ``Rpc.call`` does."""
        limit = timeout_s or self._timeout_s
        connection = await self._connected()
        return await self._over(connection, limit, method, params)

    async def listen(self) -> None:
        """Ask to be told of new blocks and return when the connection ends; raises as ``call`` does."""
        connection = await self._connected()
        await self._over(connection, self._timeout_s, "eth_subscribe", ["newHeads"])
        # Not awaited itself: a connection that is given up ends by cancellation, which is not ours.
        await asyncio.wait((connection.reading,))

    async def close(self) -> None:
        """Close the connection: calls in flight fail, a later one reconnects."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.end()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _connected(self) -> "_Connection":
        async with self._connecting:
            if self._connection is None or self._connection.reading.done():
                await self.close()
                connection = await self._connect()
                if self._greet is not None:
                    try:
                        await self._greet(
                            lambda method, params: self._over(connection, self._timeout_s, method, params)
                        )
                    except BaseException:
                        await connection.end()
                        raise
                self._connection = connection
            return self._connection

    async def _connect(self) -> "_Connection":
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with asyncio.timeout(min(self._timeout_s, _CONNECT_S)):
                socket = await self._session.ws_connect(
                    self._url,
                    max_msg_size=jsonrpc.MAX_REPLY_BYTES,
                    heartbeat=_PING_EVERY_S,
                    timeout=_CLOSING,
                )
        except TimeoutError as error:
            raise TimedOut(f"RPC endpoint {self.name} did not accept a connection in time") from error
        except _TRANSPORT_ERRORS as error:
            raise Unreachable(
                f"RPC endpoint {self.name} did not accept a connection: {type(error).__name__}"
            ) from error
        return _Connection(socket, self.name, self._on_push)

    async def _over(
        self, connection: "_Connection", limit_s: float, method: str, params: Sequence[object]
    ) -> Any:
        number = next(self._numbers)
        answer = connection.expect(number, method)
        try:
            async with asyncio.timeout(limit_s):
                await connection.socket.send_str(jsonrpc.request_text(number, method, params))
                response = await answer
        except TimeoutError as error:
            raise TimedOut(
                f"RPC endpoint {self.name} did not answer {method} within {limit_s:g} s"
            ) from error
        except _TRANSPORT_ERRORS as error:
            raise Unreachable(
                f"RPC endpoint {self.name} did not answer {method}: {type(error).__name__}"
            ) from error
        finally:
            connection.forget(number)
        return jsonrpc.result_of(response, number, name=self.name, method=method)


class _Connection:
    """An open socket, the calls that wait for answers over it, and the task that reads them."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, name: str, on_push: Callable[[], None]
    ) -> None:
        self.socket = socket
        self._name = name
        self._on_push = on_push
        self._waiting: dict[int, tuple[str, asyncio.Future[dict[str, Any]]]] = {}
        self.reading = asyncio.create_task(self._read(), name=f"websocket {name}")

    def expect(self, number: int, method: str) -> asyncio.Future[dict[str, Any]]:
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        if self.reading.done():
            answer.set_exception(self._ended(method))
        self._waiting[number] = (method, answer)
        return answer

    def forget(self, number: int) -> None:
        _, answer = self._waiting.pop(number)
        if answer.done() and not answer.cancelled():
            answer.exception()

    async def end(self) -> None:
        self.reading.cancel()
        await asyncio.gather(self.reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async for message in self.socket:
                if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                    self._take(message.data)
        finally:
            for method, answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(self._ended(method))
            await self.socket.close()

    def _take(self, text: str | bytes) -> None:
        try:
            response = jsonrpc.parse(text, name=self._name, method="a call")
        except BadReply as problem:
            # Whose answer it was cannot be told.
            for _, answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(problem)
            return
        number = response.get("id")
        if "method" in response and number is None:
            self._on_push()
            return
        method_and_answer = self._waiting.get(number) if isinstance(number, int) else None
        if method_and_answer is not None and not method_and_answer[1].done():
            method_and_answer[1].set_result(response)

    def _ended(self, method: str) -> Unreachable:
        return Unreachable(f"RPC endpoint {self._name} closed the connection before it answered {method}")
