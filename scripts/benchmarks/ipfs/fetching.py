"""Download: one stream or single blocks, one gateway or two, beside a plain HTTP download of as many bytes."""

import asyncio
import hashlib
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp

from node.publisher.blockstore import BlockStore
from node.publisher.fetching import download
from node.publisher.fetching.download import fetch
from node.publisher.fetching.stream import NoStream
from node.publisher.unixfs import import_path
from scripts.benchmarks.ipfs.measurement import MB, Measurement, Row, random_file
from tests.chaos.harness.nodes import ROOT

FILES, FILE_BYTES = 6, 16 << 20
ROUNDS = 5

_SERVE = """
import asyncio, sys
from pathlib import Path
from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from node.publisher.blockstore import BlockStore
from node.publisher.gateway import gateway_routes
from node.web.app import listen

listener = listen("127.0.0.1", 0)
config = Config()
config.bind = [f"fd://{listener.socket.detach()}"]
config.errorlog = None
print(listener.url, flush=True)
app = Starlette(routes=gateway_routes(BlockStore(Path(sys.argv[1]), floor_bytes=0)))
asyncio.run(serve(app, config))
"""


@asynccontextmanager
async def gateway(store: Path):
    """Run a gateway as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _SERVE, str(store)), cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


@contextmanager
def without_streams():
    """Have downloads begin block by block."""

    async def none(*_):
        raise NoStream("not in this measurement")

    usual, download.receive_car = download.receive_car, none
    try:
        yield
    finally:
        download.receive_car = usual


async def _plain(url: str, into: Path) -> None:
    """What any client does: receive, hash, write."""
    into.mkdir()
    digest = hashlib.sha256()
    async with aiohttp.ClientSession() as session:
        for number in range(FILES):
            async with session.get(f"{url}/{number}") as answer:
                with (into / str(number)).open("wb") as file:
                    async for piece in answer.content.iter_chunked(1 << 20):
                        digest.update(piece)
                        file.write(piece)


async def _measure(folder: Path) -> list[Row]:
    tree = folder / "tree"
    tree.mkdir()
    for number in range(FILES):
        random_file(tree / str(number), FILE_BYTES)
    cid = import_path(tree, BlockStore(folder / "store", floor_bytes=0))
    into = folder / "copy"

    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(gateway(folder / "store")) for _ in range(2)]

        async def blocks(*urls: str) -> None:
            with without_streams():
                await fetch(urls, cid, into)

        works = {
            "plain": lambda: _plain(f"{first}/ipfs/{cid}", into),
            "stream": lambda: fetch([first], cid, into),
            "blocks": lambda: blocks(first),
            "two": lambda: blocks(first, second),
        }
        times = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                began = time.perf_counter()
                await work()
                times[name].append(time.perf_counter() - began)
                shutil.rmtree(into)
    speeds = {name: FILES * FILE_BYTES / MB / statistics.median(seconds) for name, seconds in times.items()}
    against = {
        name: statistics.median(plain / own for plain, own in zip(times["plain"], times[name], strict=True))
        for name in works
    }
    size = f"{FILES * FILE_BYTES >> 20} MiB in {FILES} files"
    return [
        Row(
            f"{size} by plain HTTP from the gateway, hashed as a whole and written",
            f"{speeds['plain']:.0f} MB/s",
        ),
        Row(
            "the same by one verified CAR stream, files fsynced",
            f"{speeds['stream']:.0f} MB/s, {against['stream']:.2f} of that",
        ),
        Row(
            "block by block, 8 requests open", f"{speeds['blocks']:.0f} MB/s, {against['blocks']:.2f} of that"
        ),
        Row("block by block from two gateways", f"{speeds['two']:.0f} MB/s, {against['two']:.2f} of that"),
    ]


def run_download(folder: Path) -> list[Row]:
    return asyncio.run(_measure(folder))


DOWNLOAD = Measurement(
    "download",
    "Download",
    run_download,
    "Gateways and requester share two cores, so that two gateways have no more of them than one. Each block is "
    "hashed when it arrives, written, read again for the tree, and the tree is hashed once more by whoever asked "
    "for it. A single gateway is asked for one stream; block by block begins where a stream broke off, or with "
    "several sources.",
)
