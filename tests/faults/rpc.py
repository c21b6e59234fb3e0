"""An RPC endpoint that lies, stalls and fails at a chosen rate, in front of a real one (HTTP and WebSocket).

    async with FaultProxy(market.url, seed=7) as proxy:
        settings["chain"]["rpc_urls"] = [proxy.url]          # or proxy.ws_url
        proxy.rates = {Fault.HTTP_429: 0.2, Fault.HANG: 0.01}
        ...
        proxy.rates = {}                                      # healthy again

``rates`` maps kinds to probabilities and may be changed at any moment; each request draws once for each kind
that applies to it, from a generator with the given seed, and the first that strikes decides the answer. What
struck is counted in ``struck``, what was asked in ``asked``. The kinds are those of test T6; "head behind"
has three depths. A request that lags sees one old block consistently: heads, state, receipts and logs of it.

Besides the kinds: ``max_log_blocks`` and ``max_logs`` refuse large eth_getLogs (``log_refusal`` is the code
and the words), ``mute_pushes`` swallows subscription messages, ``drop_sockets()`` closes every connection.
"""

import asyncio
import json
import logging
import random
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp import web

OTHER_CHAIN = 987_654
"""What a connection that ended up at another chain says to eth_chainId."""


class Fault(StrEnum):
    """One way to fail; the comment says which requests it strikes."""

    TIMEOUT = "timeout"  # all: the right answer, ``late_s`` too late
    HANG = "hang"  # all: connected, and silent for ever
    HTTP_429 = "429"  # all, with ``retry_after``
    HTTP_500 = "500"  # all
    CUT_JSON = "cut_json"  # all: half of the answer's text
    WRONG_ID = "wrong_id"  # all: the answer to another request
    WRONG_CHAIN = "wrong_chain"  # connections: everything sent over a struck one reaches another chain
    HEAD_1 = "head_1_behind"  # reads of the newest state
    HEAD_20 = "head_20_behind"
    HEAD_1000 = "head_1000_behind"
    LOGS_MISSING = "logs_missing"  # eth_getLogs that finds something: some or all of it is left out
    LOGS_TWICE = "logs_twice"  # eth_getLogs: each log two times
    RECEIPT_NULL = "receipt_null"  # eth_getTransactionReceipt of a mined transaction
    NONCE_TOO_LOW = "nonce_too_low"  # eth_sendRawTransaction: not passed on, and a lie
    ALREADY_KNOWN = "already_known"  # eth_sendRawTransaction: not passed on, and a lie
    UNDERPRICED = "underpriced"  # eth_sendRawTransaction: not passed on


BEHIND = {Fault.HEAD_1: 1, Fault.HEAD_20: 20, Fault.HEAD_1000: 1000}
_SEND_REFUSALS = {
    Fault.NONCE_TOO_LOW: "nonce too low: next nonce 5, tx nonce 4",
    Fault.ALREADY_KNOWN: "already known",
    Fault.UNDERPRICED: "transaction underpriced",
}
_TRANSPORT = (Fault.TIMEOUT, Fault.HANG, Fault.HTTP_429, Fault.HTTP_500, Fault.CUT_JSON, Fault.WRONG_ID)
# Where a method's block parameter stands.
_BLOCK_PARAMETER = {
    "eth_call": 1,
    "eth_estimateGas": 1,
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
    "eth_getBlockByNumber": 0,
    "eth_getBlockReceipts": 0,
}


_SILENT = logging.getLogger("tests.faults.silent")
"""Connections are broken here on purpose, and the server would say so each time."""
_SILENT.disabled = True

_SERVED_PER_CONNECTION = 20
"""Requests after which a connection ends while connections may go to another chain."""


@dataclass(slots=True)
class _Connection:
    poisoned: bool
    served: int = 0


class FaultProxy:
    """Serves ``url`` and ``ws_url``, as an async context manager."""

    def __init__(
        self, upstream: str, *, seed: int = 0, late_s: float = 30.0, retry_after: str | None = "1"
    ) -> None:
        self.rates: dict[Fault, float] = {}
        self.struck: Counter[Fault] = Counter()
        self.asked: Counter[str] = Counter()
        self.late_s = late_s
        self.retry_after = retry_after
        self.max_log_blocks: int | None = None
        self.max_logs: int | None = None
        self.log_refusal = (-32005, "query returned more than 10000 results")
        self.mute_pushes = False
        self._upstream = upstream
        self._random = random.Random(seed)
        self._session: aiohttp.ClientSession
        self._runner: web.AppRunner
        self._connections: WeakKeyDictionary[asyncio.BaseTransport, _Connection] = WeakKeyDictionary()
        self._released = asyncio.Event()
        self._port = 0

    @property
    def url(self) -> str:
        """The address for HTTP."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        """The address for WebSocket."""
        return f"ws://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
        )
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, logger=_SILENT)
        await self._runner.setup()
        await self._bind()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        await self.drop_sockets()
        await self._runner.cleanup()
        await self._session.close()

    async def stop(self) -> None:
        """Refuse connections, and break those there are, until ``start``."""
        for site in list(self._runner.sites):
            await site.stop()
        await self.drop_sockets()

    async def start(self) -> None:
        """Listen again at the same address."""
        await self._bind()

    async def drop_sockets(self) -> None:
        """Break every connection now; the next one is accepted."""
        for transport in list(self._connections):
            transport.abort()  # type: ignore[attr-defined]
        self._connections.clear()

    async def _bind(self) -> None:
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        if not self._port:
            self._port = self._runner.addresses[0][1]

    def _strikes(self, *kinds: Fault) -> Fault | None:
        for kind in kinds:
            rate = self.rates.get(kind, 0.0)
            if rate and self._random.random() < rate:
                self.struck[kind] += 1
                return kind
        return None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        connection = self._connections.get(request.transport)
        if connection is None:
            connection = _Connection(self._strikes(Fault.WRONG_CHAIN) is not None)
            self._connections[request.transport] = connection
        connection.served += 1
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_socket(request, poisoned=connection.poisoned)
        body = json.loads(await request.read())
        response = await self._http(body, poisoned=connection.poisoned)
        if self.rates.get(Fault.WRONG_CHAIN) and connection.served >= _SERVED_PER_CONNECTION:
            # A connection that never ended would draw its lot only once.
            response.force_close()
        return response

    async def _http(self, request: Any, *, poisoned: bool) -> web.Response:
        if isinstance(request, list):
            answers = [await self._answer(one, poisoned=poisoned) for one in request]
            return web.json_response(answers)
        kind = self._strikes(*_TRANSPORT)
        match kind:
            case Fault.HANG:
                await self._released.wait()
            case Fault.TIMEOUT:
                await self._late()
            case Fault.HTTP_429:
                headers = {"Retry-After": self.retry_after} if self.retry_after else None
                return web.Response(status=429, text="slow down", headers=headers)
            case Fault.HTTP_500:
                return web.Response(status=500, text="<html>oops</html>", content_type="text/html")
        try:
            answer = await self._answer(request, poisoned=poisoned)
        except aiohttp.ClientError:
            return web.Response(status=502)
        return web.Response(text=self._spoilt(answer, kind), content_type="application/json")

    def _spoilt(self, answer: dict[str, Any], kind: Fault | None) -> str:
        if kind is Fault.WRONG_ID:
            answer = answer | {"id": (answer["id"] if isinstance(answer["id"], int) else 0) + 1_000_003}
        text = json.dumps(answer)
        return text[: len(text) // 2] if kind is Fault.CUT_JSON else text

    async def _late(self) -> None:
        try:
            await asyncio.wait_for(self._released.wait(), self.late_s)
        except TimeoutError:
            return

    async def _answer(self, request: dict[str, Any], *, poisoned: bool) -> dict[str, Any]:
        method, params = request["method"], request.get("params", [])
        self.asked[method] += 1
        try:
            result = await self._result(method, params, poisoned=poisoned)
        except _Refusal as refusal:
            return {"jsonrpc": "2.0", "id": request["id"], "error": refusal.error}
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    async def _result(self, method: str, params: list[Any], *, poisoned: bool) -> Any:
        if poisoned:
            return self._from_another_chain(method)
        lag = BEHIND[kind] if (kind := self._strikes(*BEHIND)) else None
        if lag is not None:
            return await self._lagging(method, params, lag)
        match method:
            case "eth_getLogs":
                return await self._logs(params)
            case "eth_getTransactionReceipt":
                receipt = await self._ask(method, params)
                return None if receipt and self._strikes(Fault.RECEIPT_NULL) else receipt
            case "eth_sendRawTransaction":
                kind = self._strikes(*_SEND_REFUSALS)
                if kind is not None:
                    raise _Refusal(-32000, _SEND_REFUSALS[kind])
        return await self._ask(method, params)

    async def _logs(self, params: list[Any]) -> list[Any]:
        query = params[0]
        if self.max_log_blocks is not None and "blockHash" not in query:
            head = int(await self._ask("eth_blockNumber", []), 16)
            if _height(query.get("toBlock"), head) - _height(query.get("fromBlock"), head) >= (
                self.max_log_blocks
            ):
                raise _Refusal(*self.log_refusal)
        logs: list[Any] = await self._ask("eth_getLogs", params)
        if self.max_logs is not None and len(logs) > self.max_logs:
            raise _Refusal(*self.log_refusal)
        if logs and self._strikes(Fault.LOGS_MISSING):
            kept = self._random.randrange(len(logs))
            logs = sorted(self._random.sample(logs, kept), key=logs.index)
        if self._strikes(Fault.LOGS_TWICE):
            logs = [log for log in logs for _ in range(2)]
        return logs

    async def _lagging(self, method: str, params: list[Any], lag: int) -> Any:
        """Answer as an endpoint would whose newest block is ``lag`` blocks old."""
        head = max(0, int(await self._ask("eth_blockNumber", []), 16) - lag)
        if method == "eth_blockNumber":
            return hex(head)
        if method == "eth_getLogs":
            return [log for log in await self._ask(method, params) if int(log["blockNumber"], 16) <= head]
        if method in _BLOCK_PARAMETER:
            index = _BLOCK_PARAMETER[method]
            asked = params[index] if len(params) > index else "latest"
            if isinstance(asked, str) and _height(asked, head) > head:
                if method.startswith("eth_getBlock"):
                    return None
                raise _Refusal(-32000, "header not found")
            if asked in {"latest", "pending"}:
                padded = [*params, *[None] * (index + 1 - len(params))]
                return await self._ask(method, [*padded[:index], hex(head), *padded[index + 1 :]])
        result = await self._ask(method, params)
        if method in {"eth_getTransactionReceipt", "eth_getTransactionByHash"} and result:
            number = result.get("blockNumber")
            if number is not None and int(number, 16) > head:
                return None
        return result

    def _from_another_chain(self, method: str) -> Any:
        zero = "0x" + "00" * 32
        match method:
            case "eth_chainId":
                return hex(OTHER_CHAIN)
            case "eth_getBlockByNumber":
                return {"number": "0x7", "hash": zero, "parentHash": zero, "timestamp": "0x1"}
            case "eth_getLogs":
                return []
            case "eth_getTransactionReceipt" | "eth_getTransactionByHash":
                return None
            case "eth_call" | "eth_getCode":
                return "0x"
            case "eth_sendRawTransaction":
                raise _Refusal(-32000, "invalid chain id for signer")
        return "0x0"

    async def _ask(self, method: str, params: list[Any]) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self._session.post(self._upstream, json=request) as reply:
            answer = await reply.json(content_type=None)
        if "error" in answer:
            error = answer["error"]
            raise _Refusal(error.get("code", 0), error.get("message", ""), error.get("data"))
        return answer["result"]

    async def _serve_socket(self, request: web.Request, *, poisoned: bool) -> web.WebSocketResponse:
        client = web.WebSocketResponse(max_msg_size=0)
        await client.prepare(request)
        upstream = self._upstream.replace("http", "ws", 1)
        async with self._session.ws_connect(upstream, max_msg_size=0) as source, asyncio.TaskGroup() as tasks:
            pushes = tasks.create_task(self._pass_pushes(source, client))
            async for message in client:
                if message.type is aiohttp.WSMsgType.TEXT:
                    asked = json.loads(message.data)
                    if asked["method"] in {"eth_subscribe", "eth_unsubscribe"}:
                        self.asked[asked["method"]] += 1
                        await source.send_str(message.data)
                    else:
                        tasks.create_task(self._over_socket(client, asked, poisoned=poisoned))
            pushes.cancel()
        return client

    async def _pass_pushes(
        self, source: aiohttp.ClientWebSocketResponse, client: web.WebSocketResponse
    ) -> None:
        async for message in source:
            muted = self.mute_pushes and "method" in json.loads(message.data)
            if not muted and not client.closed:
                await client.send_str(message.data)

    async def _over_socket(self, client: web.WebSocketResponse, asked: Any, *, poisoned: bool) -> None:
        kind = self._strikes(*_TRANSPORT)
        if kind is Fault.HANG:
            return
        if kind is Fault.TIMEOUT:
            await self._late()
        if kind in {Fault.HTTP_429, Fault.HTTP_500}:
            code = -32005 if kind is Fault.HTTP_429 else -32603
            answer = {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": code, "message": str(kind)}}
        else:
            answer = await self._answer(asked, poisoned=poisoned)
        if not client.closed:
            await client.send_str(self._spoilt(answer, kind))


class _Refusal(Exception):
    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message} | ({} if data is None else {"data": data})


def _height(tag: object, head: int) -> int:
    if isinstance(tag, str) and tag.startswith("0x"):
        return int(tag, 16)
    return 0 if tag == "earliest" else head
