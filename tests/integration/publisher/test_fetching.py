"""Downloads from several gateways at once, and downloads that go on where they were killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from node.errors import Unreachable
from node.publisher.cid import parse_cid
from node.publisher.dag import Scope, walk
from node.publisher.errors import BadContent
from node.publisher.fetch_limits import FetchLimits
from node.publisher.fetching import session as module
from node.publisher.fetching.download import fetch
from tests.integration.publisher.conftest import read_tree

pytestmark = pytest.mark.integration
QUICK = FetchLimits(retry_wait_s=0.01, idle_s=5.0)

DOWNLOAD = """
import asyncio, sys
from pathlib import Path
from node.publisher.fetching.download import fetch
from node.types import Cid

def tell(progress):
    print(progress.blocks, progress.known_blocks, flush=True)

asyncio.run(fetch([sys.argv[1]], Cid(sys.argv[2]), Path(sys.argv[3]), on_progress=tell))
"""


class Gateway:
    """A gateway of raw blocks, and of CARs if it is told to, that counts what it is asked for."""

    def __init__(self, blocks):
        self.blocks = {str(block_id): block for block_id, block in blocks}
        self.asked = Counter()
        self.delay_s = 0.0
        self.status = 200
        self.lies = False
        self.url = ""

    async def answer(self, request):
        name = request.match_info["cid"]
        if request.query.get("format") != "raw":
            return web.Response(status=400)
        self.asked[name] += 1
        await asyncio.sleep(self.delay_s)
        if self.status != 200 or name not in self.blocks:
            return web.Response(status=self.status if self.status != 200 else 404)
        return web.Response(body=self.blocks[name][:-1] + b"!" if self.lies else self.blocks[name])


@pytest.fixture
def blocks(store, cid):
    return list(walk(store, parse_cid(cid), Scope.ALL))


@pytest.fixture
async def gateway(blocks):
    servers = []

    async def start():
        made = Gateway(blocks)
        app = web.Application()
        app.router.add_get("/ipfs/{cid}", made.answer)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        made.url = str(server.make_url("")).rstrip("/")
        return made

    yield start
    for server in servers:
        await server.close()


async def test_a_gateway_without_streams_is_asked_block_by_block(gateway, cid, files, blocks, tmp_path):
    only = await gateway()
    await fetch([only.url], cid, tmp_path / "copy", QUICK)
    assert read_tree(tmp_path / "copy") == files
    assert only.asked == Counter(str(block_id) for block_id, _ in blocks)


async def test_several_gateways_share_a_download(gateway, cid, files, blocks, tmp_path):
    several = [await gateway() for _ in range(3)]
    for one in several:
        one.delay_s = 0.02
    await fetch([one.url for one in several], cid, tmp_path / "copy", QUICK)
    assert read_tree(tmp_path / "copy") == files
    assert all(one.asked for one in several)
    assert sum((one.asked for one in several), Counter()) == Counter(str(block_id) for block_id, _ in blocks)


async def test_a_gateway_that_lies_does_not_spoil_the_others(gateway, cid, files, tmp_path):
    liar, honest = await gateway(), await gateway()
    liar.lies, honest.delay_s = True, 0.01
    await fetch([liar.url, honest.url], cid, tmp_path / "copy", QUICK)
    assert read_tree(tmp_path / "copy") == files
    assert sum(liar.asked.values()) <= module.OPEN_REQUESTS


async def test_gateways_that_all_lie_are_named_and_leave_nothing(gateway, cid, tmp_path):
    liars = [await gateway(), await gateway()]
    for one in liars:
        one.lies = True
    with pytest.raises(BadContent, match=liars[1].url):
        await fetch([one.url for one in liars], cid, tmp_path / "new" / "copy", QUICK)
    assert list((tmp_path / "new").iterdir()) == []


async def test_a_gateway_that_is_down_is_made_up_for(gateway, gateway_url, cid, files, tmp_path):
    down = await gateway()
    down.status = 503
    await fetch([down.url, gateway_url, "http://127.0.0.1:9"], cid, tmp_path / "copy", QUICK)
    assert read_tree(tmp_path / "copy") == files


async def test_a_download_that_failed_goes_on_without_what_it_had(gateway, cid, files, blocks, tmp_path):
    first, second = await gateway(), await gateway()
    lacking = {str(block_id) for block_id, _ in blocks[3:6]}
    for name in lacking:
        del first.blocks[name]
    with pytest.raises(Unreachable, match="no source gives block"):
        await fetch([first.url], cid, tmp_path / "copy", QUICK)
    assert not (tmp_path / "copy").exists()
    told = []
    await fetch([second.url], cid, tmp_path / "copy", QUICK, told.append)
    assert read_tree(tmp_path / "copy") == files
    assert told[0].blocks > 1
    assert lacking <= set(second.asked)
    assert told[0].blocks + sum(second.asked.values()) == len(blocks)
    assert not (tmp_path / ".copy.part").exists()


async def test_a_killed_download_asks_only_for_what_it_had_not(gateway, cid, files, blocks, tmp_path):
    only = await gateway()
    only.delay_s = 0.05
    kills = 0
    while not (tmp_path / "copy").exists():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", DOWNLOAD, only.url, cid, str(tmp_path / "copy")), stdout=subprocess.PIPE
        )
        # One block further each time, until there is nothing left to be killed in.
        for _ in range(2):
            if not await process.stdout.readline():
                break
        else:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        await process.wait()
    assert kills > 2
    assert read_tree(tmp_path / "copy") == files
    # What was on its way when a kill came is asked for again, nothing that had arrived.
    assert max(only.asked.values()) <= 1 + kills
    assert sum(only.asked.values()) <= len(blocks) + kills * module.OPEN_REQUESTS
    root_asked = only.asked[cid]
    assert root_asked == 1
