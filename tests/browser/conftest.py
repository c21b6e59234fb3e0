"""A served node with a behaving engine behind it, real small media files, and a real Chromium."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
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
from node.web.sessions import Sessions
from node.web.signing_in import SigningIn
from node.web.token_file import FILE_NAME, TokenFile
from tests.fakes.status_source import FakeStatusSource

FRAMES = 25
Published = tuple[BlockStore, str, list[dict[str, object]]]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class ServedNode:
    source: FakeStatusSource
    listener: Listener
    cid: str
    outputs: list[dict[str, object]]

    @property
    def url(self) -> str:
        return self.listener.url

    def finish(self, prompt: str, **changes: object) -> str:
        """Take a job through to payment, with files."""
        job_id = self.source.add_job(prompt, **changes)
        self.source.publish(job_id, self.cid, self.outputs)
        self.source.submit(job_id)
        self.source.pay(job_id)
        return job_id


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
    (folder / "manifest.json").write_text("{}")
    return [
        {"path": path, "media_type": media_type(path), "bytes": (folder / path).stat().st_size}
        for path in sorted(path.relative_to(folder).as_posix() for path in folder.glob("outputs/*"))
    ]


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
    return store, import_path(folder, store), outputs


@pytest.fixture
async def node(published: Published, tmp_path: Path) -> AsyncIterator[ServedNode]:
    store, cid, outputs = published
    source = FakeStatusSource()
    health = Health(SystemClock())
    health.started()
    token = TokenFile(tmp_path / FILE_NAME)
    token.ensure()
    sessions = Sessions(token, SystemClock())
    app = build_app(
        source,
        gateway_routes(store),
        Metrics("0.1.0"),
        health,
        callers=Callers(token, sessions),
        signing_in=SigningIn(sessions),
    )
    listener = listen("127.0.0.1", 0)
    shutdown = asyncio.Event()
    serving = asyncio.create_task(serve_on(app, listener, shutdown))
    yield ServedNode(source, listener, cid, outputs)
    shutdown.set()
    await serving


@pytest.fixture
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


@pytest.fixture
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
