"""What an endpoint can do wrong over HTTP ends as one of our errors, within its time and size."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from aiohttp import web

from node.chain import jsonrpc
from node.chain.hexadecimal import BadReply
from node.chain.jsonrpc import RateLimited
from node.chain.rpc import Rpc, RpcError, retry_after_s
from node.errors import Misconfigured, Unreachable

pytestmark = pytest.mark.integration
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Endpoint:
    """A server that gives whatever answer the test wants."""

    def __init__(self) -> None:
        self.answer: Answer
        self.connections: set[object] = set()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport)
        return await self.answer(request)

    def says(self, **response) -> None:
        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.Response(**response)

        self.answer = answer


@pytest_asyncio.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    served = Endpoint()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", served.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v3/secret-api-key"
    yield served
    await runner.cleanup()


@pytest_asyncio.fixture
async def rpc(endpoint: Endpoint) -> AsyncIterator[Rpc]:
    client = Rpc(endpoint.url, timeout_s=1.0)
    yield client
    await client.close()


async def test_a_result_is_returned_as_it_came(endpoint: Endpoint, rpc: Rpc):
    endpoint.says(text='{"jsonrpc":"2.0","id":1,"result":{"a":["0x1"]}}', content_type="application/json")
    assert await rpc.call("eth_x", []) == {"a": ["0x1"]}


async def test_one_connection_serves_many_calls(endpoint: Endpoint, rpc: Rpc):
    async def echo(request: web.Request) -> web.StreamResponse:
        return web.json_response({"jsonrpc": "2.0", "id": (await request.json())["id"], "result": None})

    endpoint.answer = echo
    for _ in range(5):
        assert await rpc.call("eth_x", []) is None
    assert len(endpoint.connections) == 1


@pytest.mark.parametrize("number", ["2", "null", '"1"', "1.5"])
async def test_the_answer_to_another_request_is_a_bad_reply(endpoint: Endpoint, rpc: Rpc, number: str):
    endpoint.says(text=f'{{"jsonrpc":"2.0","id":{number},"result":"0x1"}}', content_type="application/json")
    with pytest.raises(BadReply, match="another request"):
        await rpc.call("eth_x", [])


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("100000", 300.0), (None, None), ("soon", None), ("٣", None)]
)
@pytest.mark.parametrize("body", ["<html>", '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}'])
async def test_too_many_requests_says_how_long_to_wait(
    endpoint: Endpoint, rpc: Rpc, header: str | None, seconds: float | None, body: str
):
    endpoint.says(text=body, status=429, headers={"Retry-After": header} if header else None)
    with pytest.raises(RateLimited) as caught:
        await rpc.call("eth_x", [])
    assert caught.value.retry_after_s == seconds


def test_retry_after_may_be_a_date():
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after_s("Wed, 21 Oct 2415 07:28:00 GMT") == 300.0


async def test_no_answer_over_a_new_connection_is_handed_out_before_the_greeting(endpoint: Endpoint):
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        asked.append(body["method"])
        return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": "0x1"})

    async def greet(ask):
        asked.append("greeting")
        await ask("eth_chainId", [])

    endpoint.answer = answer
    client = Rpc(endpoint.url, greet=greet)
    await client.call("eth_x", [])
    await client.call("eth_y", [])
    await client.close()
    await client.call("eth_z", [])
    await client.close()
    assert asked == ["eth_x", "greeting", "eth_chainId", "eth_y", "eth_z", "greeting", "eth_chainId"]


async def test_a_connection_whose_greeting_fails_gives_no_answer_and_is_not_used_again(endpoint: Endpoint):
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"jsonrpc": "2.0", "id": (await request.json())["id"], "result": "0x1"})

    async def greet(_ask):
        raise Unreachable("another chain")

    endpoint.answer = answer
    client = Rpc(endpoint.url, greet=greet)
    for _ in range(2):
        with pytest.raises(Unreachable, match="another chain"):
            await client.call("eth_x", [])
    await client.close()
    assert len(endpoint.connections) == 2


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_an_error_object_is_an_rpc_error_whatever_the_http_status(
    endpoint: Endpoint, rpc: Rpc, status: int
):
    endpoint.says(
        text='{"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"too many","data":{"x":1}}}',
        content_type="application/json",
        status=status,
    )
    with pytest.raises(RpcError) as caught:
        await rpc.call("eth_x", [])
    assert (caught.value.code, caught.value.message, caught.value.data) == (-32005, "too many", {"x": 1})


async def test_an_error_that_is_no_object_is_an_rpc_error(endpoint: Endpoint, rpc: Rpc):
    endpoint.says(text='{"jsonrpc":"2.0","id":1,"error":"no"}', content_type="application/json")
    with pytest.raises(RpcError, match="no"):
        await rpc.call("eth_x", [])


@pytest.mark.parametrize(
    "text",
    ["<html>", "", "[]", "7", "{}", '{"result":', '{"jsonrpc":"2.0","id":1}', '"\\ud800"', "nul"],
)
async def test_an_answer_that_is_none_is_a_bad_reply(endpoint: Endpoint, rpc: Rpc, text: str):
    endpoint.says(text=text, content_type="application/json")
    with pytest.raises(BadReply):
        await rpc.call("eth_x", [])


async def test_bytes_that_are_no_text_are_a_bad_reply(endpoint: Endpoint, rpc: Rpc):
    endpoint.says(body=b"\xff\xfe{", content_type="application/json")
    with pytest.raises(BadReply):
        await rpc.call("eth_x", [])


@pytest.mark.parametrize("status", [401, 404, 429, 502, 503])
async def test_an_http_error_is_unreachable_and_names_the_status(endpoint: Endpoint, rpc: Rpc, status: int):
    endpoint.says(text="<html>no</html>", content_type="text/html", status=status)
    with pytest.raises(Unreachable, match=f"HTTP {status}"):
        await rpc.call("eth_x", [])


async def test_a_hanging_endpoint_is_unreachable_within_the_limit(endpoint: Endpoint):
    release = asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    endpoint.answer = hang
    client = Rpc(endpoint.url, timeout_s=0.1)
    with pytest.raises(Unreachable, match="did not answer eth_x"):
        await client.call("eth_x", [])
    release.set()
    await client.close()


async def test_a_cut_answer_is_unreachable(endpoint: Endpoint, rpc: Rpc):
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"jsonrpc"')
        assert request.transport is not None
        request.transport.abort()
        return response

    endpoint.answer = cut
    with pytest.raises(Unreachable):
        await rpc.call("eth_x", [])


async def test_an_answer_beyond_the_limit_is_cut_off_also_when_compressed(
    endpoint: Endpoint, rpc: Rpc, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jsonrpc, "MAX_REPLY_BYTES", 100_000)
    endpoint.says(
        body=gzip.compress(b" " * 5_000_000),
        content_type="application/json",
        headers={"Content-Encoding": "gzip"},
    )
    with pytest.raises(Unreachable, match="did not answer"):
        await rpc.call("eth_x", [])


async def test_an_endpoint_that_is_not_there_is_unreachable_and_its_key_is_not_shown():
    client = Rpc("http://user:password@127.0.0.1:9/v3/secret-api-key", timeout_s=1.0)
    with pytest.raises(Unreachable) as caught:
        await client.call("eth_x", [])
    await client.close()
    assert str(caught.value).startswith("RPC endpoint http://127.0.0.1:9 did not answer eth_x")
    assert "secret" not in str(caught.value)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("url", ["ws://127.0.0.1", "127.0.0.1:8545", "", "http://", "file:///etc/passwd"])
def test_an_address_that_is_no_http_endpoint_is_refused(url: str):
    with pytest.raises(Misconfigured, match="http"):
        Rpc(url)
