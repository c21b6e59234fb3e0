"""Endpoints tried before they are written into the settings."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from node.app.endpoint_trial import endpoint_warnings


@pytest.fixture
async def endpoint():
    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        one = asked[0] if isinstance(asked, list) else asked
        reply = {"jsonrpc": "2.0", "id": one["id"], "result": "0x66eee"}
        return web.json_response([reply] if isinstance(asked, list) else reply)

    async def silence(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_post("/", answer)
    app.router.add_post("/silent/secret", silence)
    async with TestServer(app, port=unused_port()) as server:
        yield f"http://127.0.0.1:{server.port}"


async def test_an_endpoint_of_the_chain_that_is_meant_gives_no_warning(endpoint):
    assert await endpoint_warnings([endpoint], 421614) == []
    assert await endpoint_warnings([endpoint], 0) == []


async def test_an_endpoint_of_another_chain_is_told_of_with_both_ids(endpoint):
    (told,) = await endpoint_warnings([endpoint], 31337)
    assert "serves chain 421614, not chain 31337" in told


async def test_silence_and_a_closed_port_are_told_of_without_the_secret_part_of_the_address(endpoint):
    closed = f"http://127.0.0.1:{unused_port()}/secret"
    silent = f"{endpoint}/silent/secret"
    told = await endpoint_warnings([silent, closed], 0, timeout_s=0.3)
    assert [f"{endpoint} " in told[0], closed.removesuffix("/secret") in told[1]] == [True, True]
    assert "secret" not in "".join(told)
