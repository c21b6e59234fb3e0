"""A served node with a behaving engine behind it, real small media files, and one Chromium for all tests."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from node.clock import SystemClock
from node.observe.health import Health
from node.observe.metrics import Metrics
from node.pipeline.encoding import Encoders
from node.pipeline.results import media_type
from node.publisher.blockstore import BlockStore
from node.publisher.gateway import gateway_routes
from node.publisher.unixfs import import_path
from node.web.app import Listener, build_app, listen, serve_on
from node.web.callers import Callers
from node.web.control import Orders
from node.web.gpu_history import gpu_history_table
from node.web.job_files import job_file_table
from node.web.sessions import Sessions
from node.web.signing_in import SigningIn
from node.web.token_file import FILE_NAME, TokenFile
from tests.fakes.status_source import FakeStatusSource

FRAMES = 25
Published = tuple[BlockStore, str, list[dict[str, object]], Path]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


async def no_offer() -> bytes | None:
    return None


class Logs:
    """The log lines of jobs, as a test says them."""

    def __init__(self) -> None:
        self.said: dict[str, list[dict[str, Any]]] = {}

    def lines(self, job_id: str, limit: int) -> list[dict[str, Any]]:
        return self.said.get(job_id, [])[-limit:]


@dataclass
class ServedNode:
    source: FakeStatusSource
    folder: Path
    cid: str
    outputs: list[dict[str, object]]
    store: BlockStore
    token: TokenFile
    local_user: bool = True
    given: list[str] = field(default_factory=list)
    logs: Logs = field(default_factory=Logs)
    history: dict[str, Any] = field(default_factory=lambda: {"every_s": 60, "from": 0, "gpus": []})
    listener: Listener = field(init=False)

    @property
    def url(self) -> str:
        return self.listener.url

    async def start(self, port: int = 0) -> None:
        """Serve, at the same address as before if ``port`` says so."""
        health = Health(SystemClock())
        health.started()
        sessions = Sessions(self.token, SystemClock())
        app = build_app(
            self.source,
            gateway_routes(self.store),
            Metrics("0.1.0"),
            health,
            callers=Callers(self.token, sessions, trust_local_user=self.local_user),
            signing_in=SigningIn(sessions),
            more=(
                *Orders(partial(self._order, "drain"), partial(self._order, "resume"), no_offer).table(),
                *job_file_table(self.source, self.logs.lines),
                *gpu_history_table(lambda: self.history),
            ),
        )
        self.listener = listen("127.0.0.1", port)
        self._shutdown = asyncio.Event()
        self._serving = asyncio.create_task(serve_on(app, self.listener, self._shutdown))

    async def _order(self, verb: str) -> dict[str, Any]:
        """Obey as a node does: say so in the status, and why nothing is accepted meanwhile."""
        self.given.append(verb)
        draining = verb == "drain"
        why = ["the node is draining: sdv-node resume lets it take jobs again"] if draining else []
        self.source.set_status(draining=draining, accepting=not draining, not_accepting_because=why)
        return {"draining": draining}

    async def restart(self) -> None:
        """Go away and come back at the same address."""
        port = self.listener.port
        await self.stop()
        await self.start(port)

    async def stop(self) -> None:
        """Go away, as a node does that is stopped."""
        self._shutdown.set()
        await self._serving

    def show_still(self, job_id: str) -> None:
        """Let a job's first still be rendered."""
        self.source.show_still(job_id, self.folder, "outputs/still_00001_.png")

    def finish(self, prompt: str, **changes: object) -> str:
        """Take a job through to payment, with files."""
        job_id = self.source.add_job(prompt, **changes)
        self.source.publish(job_id, self.cid, self.outputs)
        self.source.submit(job_id)
        self.source.pay(job_id)
        return job_id


def sampled(uuid: str, values: list[int | None]) -> dict[str, Any]:
    """A GPU's last minutes, every reading of the same values."""
    readings = ("memory_used_mib", "utilisation_percent", "temperature_c", "power_w")
    return {
        "every_s": 60,
        "held_s": 21_600,
        "from": int(time.time()) - 60 * len(values),
        "gpus": [{"uuid": uuid, "index": 0, "name": "GPU", **dict.fromkeys(readings, values)}],
    }


def paint(frame: int, width: int = 320, height: int = 180) -> np.ndarray:
    """A moving disc over a gradient: [H, W, 3] uint8."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 20 + 90 * y / height
    image[..., 1] = 60 + 110 * x / width
    image[..., 2] = 120 + 100 * (1 - y / height)
    disc = (x - 60 - frame * 8) ** 2 + (y - 90) ** 2 < 26**2
    image[disc] = (250, 214, 130)
    return image


def write_media(folder: Path) -> list[dict[str, object]]:
    write_clip(folder, np.stack([paint(frame) for frame in range(FRAMES)]), framerate=10)
    outputs = [
        {"path": path, "media_type": media_type(path), "bytes": (folder / path).stat().st_size}
        for path in sorted(path.relative_to(folder).as_posix() for path in folder.glob("outputs/*"))
    ]
    (folder / "manifest.json").write_text(json.dumps({"outputs": outputs}))
    return outputs


def write_clip(folder: Path, clip: np.ndarray, framerate: int) -> None:
    """Write what is delivered of a clip, [F, H, W, 3], with the encoders that deliver it."""
    with Encoders() as encoders:
        encoders.write_still(1, clip[0], folder)
        encoders.write_clip(1, clip, framerate, folder, with_frames=False)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A result in the node's own block store, as its own gateway serves it."""
    folder = tmp_path_factory.mktemp("published")
    outputs = write_media(folder)
    store = BlockStore(tmp_path_factory.mktemp("store"), floor_bytes=0)
    return store, import_path(folder, store), outputs, folder


@pytest_asyncio.fixture(loop_scope="session")
async def node(published: Published, tmp_path: Path) -> AsyncIterator[ServedNode]:
    store, cid, outputs, folder = published
    token = TokenFile(tmp_path / FILE_NAME)
    token.ensure()
    served = ServedNode(FakeStatusSource(), folder, cid, outputs, store, token)
    await served.start()
    yield served
    await served.stop()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.fail("Chromium is missing. Debian: apt-get install chromium; Ubuntu: snap install chromium")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield chromium
        await chromium.close()


@dataclass
class Seen:
    """What a page did besides showing itself."""

    console: list[str]
    requests: list[str]


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, node: ServedNode) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    tab = await context.new_page()
    yield tab
    await context.close()


@pytest.fixture
def seen(page: Page) -> Seen:
    heard = Seen([], [])
    page.on("console", lambda message: heard.console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.console.append(f"error: {error}"))
    page.on("request", lambda request: heard.requests.append(request.url))
    return heard
