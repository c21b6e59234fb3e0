"""Asking a provider's node for progress, over real sockets, however it misbehaves."""

import asyncio

import pytest
from aiohttp import web

from node.destinations import Reach
from node.job.progress import Progress
from node.requester import provider
from node.requester.provider import ProviderStatus, Report
from node.types import DealId, JobId

pytestmark = pytest.mark.integration
GOOD = {"progress": {"stage": "video", "step": 2, "steps": 4, "fraction": 0.5}}


async def never(request):
    await asyncio.Event().wait()


async def redirect(request):
    raise web.HTTPFound("/good")


async def endless(request):
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(b" " * 65536)
    except ConnectionError:
        return response


async def cut_off(request):
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    request.transport.close()
    return response


async def good(request):
    return web.json_response(GOOD)


async def missing(request):
    raise web.HTTPNotFound


async def padded(request):
    return web.Response(body=b" " * provider.MAX_REPLY_BYTES + b"{}")


@pytest.fixture
async def ask(monkeypatch):
    monkeypatch.setattr(provider, "POLL_TIMEOUT_S", 0.3)
    application = web.Application()
    for handler in (never, redirect, endless, cut_off, good, missing, padded):
        application.router.add_get(f"/{handler.__name__}/api/v1/jobs/j7", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    status = ProviderStatus(Reach.ANY)
    yield lambda path: status.report(f"http://127.0.0.1:{port}/{path}", JobId("j7"), DealId("j7-x"))
    await status.close()
    await runner.cleanup()


async def test_progress_is_asked_for_under_the_number_of_the_job(ask):
    assert await ask("good") == Report(Progress("video", 2, 4, 0.5))


@pytest.mark.parametrize("path", ["never", "redirect", "endless", "cut_off", "missing", "padded"])
async def test_a_node_that_misbehaves_has_no_progress(ask, path):
    assert await ask(path) is None


async def test_a_node_that_is_not_there_has_no_progress():
    status = ProviderStatus(Reach.ANY)
    assert await status.report("http://127.0.0.1:9", JobId("j7"), DealId("j7-x")) is None
    await status.close()
