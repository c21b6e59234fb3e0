"""Endpoints that a test steers, behind a real pool: chains of numbered blocks, each with its own view."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from node.chain.endpoints import EndpointPool
from node.errors import Unreachable
from tests.fakes.clock import FakeClock


class FakeEndpoint:
    """Meets ``Transport``. ``fork`` colours its hashes; ``next`` holds answers or errors to give first."""

    def __init__(self, url: str) -> None:
        self.name = url.partition("?")[0]
        self.chain_id = 7
        self.head = 100
        self.fork = "aa"
        self.block_s = 1
        self.down: Exception | None = None
        self.next: deque[Any] = deque()
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, list[Any]]] = []
        self.closed = 0
        self.hangs: asyncio.Event | None = None

    async def call(self, method: str, params: Sequence[Any], timeout_s: float | None = None) -> Any:
        self.asked.append((method, list(params)))
        self.timeout_s = timeout_s
        await asyncio.sleep(0)
        if self.hangs is not None:
            await self.hangs.wait()
        if self.down is not None:
            raise self.down
        if self.next and method != "eth_getBlockByNumber":
            answer = self.next.popleft()
            if isinstance(answer, Exception):
                raise answer
            return answer
        if method in self.answers:
            answer = self.answers[method]
            if isinstance(answer, Exception):
                raise answer
            return answer
        if method == "eth_getBlockByNumber":
            return self.block(self.head if params[0] == "latest" else int(params[0], 16))
        return self.name

    async def close(self) -> None:
        self.closed += 1

    def block(self, number: int) -> dict[str, Any] | None:
        if number > self.head:
            return None
        return {
            "number": hex(number),
            "hash": "0x" + self.fork * 30 + f"{number:04x}",
            "parentHash": "0x" + self.fork * 30 + f"{number - 1:04x}",
            "timestamp": hex(1_700_000_000 + number * self.block_s),
        }

    def methods(self) -> list[str]:
        return [method for method, _ in self.asked]


class World:
    """A pool over fake endpoints on a clock that tests move."""

    def __init__(self, count: int = 2, **settings: Any) -> None:
        self.clock = FakeClock()
        self.endpoints: list[FakeEndpoint] = []
        self.failures: list[str] = []

        def connect(url: str, **_: Any) -> FakeEndpoint:
            self.endpoints.append(FakeEndpoint(url))
            return self.endpoints[-1]

        self.pool = EndpointPool(
            [f"https://e{number}" for number in range(count)],
            clock=self.clock,
            connect=connect,
            on_failure=self.failures.append,
            **settings,
        )

    def grow(self, blocks: int = 1) -> None:
        for endpoint in self.endpoints:
            endpoint.head += blocks

    def states(self) -> list[str]:
        return [report.state for report in self.pool.reports()]


DEAD = Unreachable("connection refused")
