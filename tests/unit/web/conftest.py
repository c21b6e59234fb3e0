"""The application with a behaving engine behind it."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from node.observe.health import Health
from node.observe.metrics import Metrics
from node.web.app import build_app
from node.web.callers import Callers
from node.web.control import Orders
from node.web.sessions import Sessions
from node.web.signing_in import SigningIn
from node.web.token_file import FILE_NAME, TokenFile
from tests.fakes.clock import FakeClock
from tests.fakes.status_source import FakeStatusSource


@pytest.fixture
def source() -> FakeStatusSource:
    return FakeStatusSource()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def health(clock: FakeClock) -> Health:
    return Health(clock)


@pytest.fixture
def token(tmp_path: Path) -> TokenFile:
    file = TokenFile(tmp_path / FILE_NAME)
    file.ensure()
    return file


@pytest.fixture
def sessions(token: TokenFile, clock: FakeClock) -> Sessions:
    return Sessions(token, clock)


@pytest.fixture
def given() -> list[str]:
    """The orders that were obeyed."""
    return []


@pytest.fixture
def orders(given: list[str]) -> Orders:
    async def order(name: str) -> dict[str, Any]:
        given.append(name)
        return {"draining": name == "drain", "undelivered": 0}

    async def offer() -> bytes:
        return json.dumps(
            {
                "version": 1,
                "chain_id": 31337,
                "controller": "0x" + "c0" * 20,
                "resource_provider": "0x" + "a1" * 20,
                "modules": [],
                "mediators": [],
                "valid_until": 1_790_086_400,
                "contact_url": "https://node.example",
                "determinism_class": "d3b07384d113",
                "signature": "0x" + "51" * 65,
            }
        ).encode()

    return Orders(partial(order, "drain"), partial(order, "resume"), offer)


@pytest.fixture
def make_app(
    source: FakeStatusSource, health: Health, token: TokenFile, sessions: Sessions, orders: Orders
) -> Callable[..., Starlette]:
    async def content(request: Request) -> Response:
        return PlainTextResponse(request.path_params["path"])

    def make(**options: Any) -> Starlette:
        gateway = [Route("/ipfs/{path:path}", content, methods=["GET", "OPTIONS"])]
        known: dict[str, Any] = {
            "callers": Callers(token, sessions, is_own_process=lambda *_: True),
            "signing_in": SigningIn(sessions),
            "more": orders.table(),
        }
        return build_app(source, gateway, Metrics("0.1.0"), health, **(known | options))

    return make


@pytest.fixture
def app(make_app: Callable[..., Starlette]) -> Starlette:
    return make_app()
