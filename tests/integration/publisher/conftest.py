"""A published result and a real HTTP server that offers it."""

import asyncio
import socket
from pathlib import Path

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette

from node.publisher.blockstore import BlockStore
from node.publisher.gateway import gateway_routes
from node.publisher.publish import Publisher
from node.types import JobId

FILES = {
    "exitCode": b"0",
    "stdout": b"done\n",
    "stderr": b"",
    "manifest.json": b"{}",
    "outputs/still_00001_.png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 1500,
    "outputs/output_00001_.webp": b"RIFF....WEBP" + bytes(200_000),
    "outputs/output_00001_.mp4": b"....ftyp" + bytes(range(251)) * 4000,
    "outputs/ä & <b>.bin": b"<script>alert(1)</script>",
    "outputs/frames_00001_/frame_00001_.png": b"\x89PNG\r\n\x1a\n",
}


def read_tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def files():
    return FILES


@pytest.fixture
def result(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "result" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "result"


@pytest.fixture
def store(tmp_path):
    return BlockStore(tmp_path / "store", floor_bytes=0)


@pytest.fixture
async def cid(store, result):
    return await Publisher(store).publish(JobId("j1"), result)


@pytest.fixture
async def gateway_url(store):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    stop = asyncio.Event()
    app = Starlette(routes=gateway_routes(store))
    server = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    yield f"http://127.0.0.1:{port}"
    stop.set()
    await server
