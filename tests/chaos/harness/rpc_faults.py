"""T6: jobs of a node whose RPC endpoints fail in one way at one rate; and an outage that begins and ends.

Both return the figures of one run, judged from the chain and the journal. Everything random comes from the
seed, apart from the order in which concurrent requests arrive.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass

import aiohttp

from node.job.phase import Phase
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.crowd import FINAL, Crowd
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.invariants import check
from tests.chaos.harness.kills import attended
from tests.faults.rpc import Fault, FaultProxy

RATES = (0.01, 0.05, 0.2, 0.5)
HOPELESS_ABOVE = 0.2
"""Up to this rate every job must be paid while the faults last; above it nothing wrong may be done."""

OUTAGES = tuple(kind for kind in Fault if kind not in {Fault.HEAD_1, Fault.LOGS_TWICE, Fault.RECEIPT_NULL})
"""Kinds that let nothing through when every request is struck; with the others a node rightly goes on."""

SENDING = frozenset({Fault.NONCE_TOO_LOW, Fault.ALREADY_KNOWN, Fault.UNDERPRICED})
"""Kinds that strike what is sent and nothing that is read."""

PATIENCE_S = 15.0
LIMIT_S = 240.0
_STRUCK_IN_AN_OUTAGE = 3
_RPC_TIMEOUT_S = 0.5
_BLOCK_S = 0.2
_AT_ONCE = 10
"""Jobs posted together: a node lets only so many offers of one requester wait."""
_TERMINAL = tuple(phase.value for phase in Phase if phase.terminal)


@dataclass(frozen=True)
class RpcFigures:
    """What one run showed.

    ``delays_s``, sorted: until a job's final state on chain, from its posting, or from an outage's end.
    """

    findings: Findings
    paid: int
    struck: int
    asked: int
    delays_s: tuple[float, ...]
    bids_in_outage: int = 0


@asynccontextmanager
async def _faulty(
    arena: Arena, endpoints: int, seed: int, *, websocket: bool = False
) -> AsyncIterator[tuple[list[FaultProxy], Provider, Crowd]]:
    """A node behind that many proxies, and a requester who is not behind them."""
    await arena.rewind()
    async with AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(
                FaultProxy(arena.market.url, seed=seed * 10 + number, late_s=5.0, retry_after="0")
            )
            for number in range(endpoints)
        ]
        provider = arena.provider(
            chain={
                "rpc_urls": [proxy.ws_url if websocket else proxy.url for proxy in proxies],
                "rpc_timeout_s": _RPC_TIMEOUT_S,
                "confirmations": 1,
                "resubmit_after_s": 1.0,
            },
            worker={"profile": "fake:50"},
        )
        crowd = Crowd(arena)
        async with attended(arena, crowd, provider, limit_s=LIMIT_S):
            beating = asyncio.create_task(_beat(arena))
            try:
                await _start(provider)
                yield proxies, provider, crowd
            finally:
                beating.cancel()
                await asyncio.wait([beating])


async def _start(provider: Provider) -> None:
    """Start the node; on a busy machine a first answer may be too late for the short limit used here."""
    for _ in range(5):
        if await provider.start():
            return
    raise AssertionError(f"the node does not start:\n{provider.tail()}")


async def _beat(arena: Arena) -> None:
    """Mine at a steady pace, slow enough that the node reads a few blocks at a time, as on a real chain."""
    while True:
        await arena.mine()
        await asyncio.sleep(_BLOCK_S)


async def run_rpc_faults(
    arena: Arena, kind: Fault, rate: float, endpoints: int, jobs: int, seed: int
) -> RpcFigures:
    """Post jobs while every endpoint fails at ``rate``, and bring them to their end.

    Above ``HOPELESS_ABOVE`` the faults pause after ``PATIENCE_S`` until the jobs still open then have ended.
    """
    async with _faulty(arena, endpoints, seed) as (proxies, provider, crowd):
        _set(proxies, {kind: rate})
        delays: list[float] = []
        for first in range(0, jobs, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, jobs))
            await crowd.post([f"{kind} {rate} {endpoints} {seed} {number}" for number in numbers])
            delays += await _finished(crowd, len(numbers), PATIENCE_S if rate > HOPELESS_ABOVE else None)
            if rate > HOPELESS_ABOVE:
                _set(proxies, {})
                await crowd.ended(numbers.stop)
                _set(proxies, {kind: rate})
        if rate <= HOPELESS_ABOVE:
            await provider.rest("PAID", jobs=jobs)
        _set(proxies, {})
        await provider.rest(*_TERMINAL, jobs=jobs)
        paid = (await provider.phases()).get("PAID", 0)
        findings = await check(arena, provider, crowd.prompts)
        return _figures(proxies, findings, paid, delays)


async def run_loss_of_the_first(arena: Arena, seed: int) -> tuple[RpcFigures, list[dict[str, object]]]:
    """Stop the first of two endpoints while a job is under way; also return how the status shows the two."""
    async with _faulty(arena, 2, seed) as (proxies, provider, crowd):
        await crowd.post([f"loss of the first {seed}"])
        while not crowd.states:
            await asyncio.sleep(0.02)
        await proxies[0].stop()
        delays = await _finished(crowd, 1, None)
        await provider.rest("PAID", jobs=1)
        shown = await endpoints_of(provider)
        findings = await check(arena, provider, crowd.prompts)
        return _figures(proxies, findings, 1, delays), shown


async def run_breaking_sockets(arena: Arena, seed: int) -> RpcFigures:
    """Bring a job to its end over one WebSocket endpoint, all of whose connections break all the time."""
    async with _faulty(arena, 1, seed, websocket=True) as (proxies, provider, crowd):
        breaking = asyncio.create_task(_break(proxies[0]))
        try:
            await crowd.post([f"breaking sockets {seed}"])
            delays = await _finished(crowd, 1, None)
            await provider.rest("PAID", jobs=1)
        finally:
            breaking.cancel()
            await asyncio.wait([breaking])
        findings = await check(arena, provider, crowd.prompts)
        return _figures(proxies, findings, 1, delays)


async def _break(proxy: FaultProxy) -> None:
    while True:
        await asyncio.sleep(0.2)
        await proxy.drop_sockets()


async def run_rpc_outage(arena: Arena, kind: Fault, endpoints: int, seed: int) -> RpcFigures:
    """Let every request fail while one job is under way and another is posted; then let all recover."""
    async with _faulty(arena, endpoints, seed) as (proxies, provider, crowd):
        await crowd.post([f"{kind} {endpoints} {seed} before"])
        while not crowd.states:
            await asyncio.sleep(0.02)
        _set(proxies, {kind: 1.0})
        for proxy in proxies:
            # A connection from before would still reach the right chain.
            await proxy.drop_sockets()
        await crowd.post([f"{kind} {endpoints} {seed} during"])
        while sum(proxy.struck[kind] for proxy in proxies) < _STRUCK_IN_AN_OUTAGE:
            await asyncio.sleep(0.02)
        bids = await _bids(arena, provider, kind)
        _set(proxies, {})
        # The job from before may have come to its end during the outage: what was sent for it was sent.
        ended = sum(state in FINAL for state in crowd.states.values())
        delays = await _finished(crowd, 2 - ended, None)
        await provider.rest("PAID", jobs=2)
        paid = (await provider.phases()).get("PAID", 0)
        findings = await check(arena, provider, crowd.prompts)
        return _figures(proxies, findings, paid, delays, bids)


async def _bids(arena: Arena, provider: Provider, kind: Fault) -> int:
    """Return how many bids the journal has for the job that was posted in the outage.

    Where only sending fails, the node rightly bids: then those count that the chain or its pool has.
    """
    query = "SELECT tx_hash FROM attempts WHERE intent_id LIKE 'j2:%'"
    with closing(provider.journal()) as journal:
        signed = [tx_hash for (tx_hash,) in journal.execute(query)]
    if kind not in SENDING:
        return len(signed)
    return sum([await arena.market.chain.transaction(tx_hash) is not None for tx_hash in signed])


def _set(proxies: list[FaultProxy], rates: dict[Fault, float]) -> None:
    for proxy in proxies:
        proxy.rates = rates


def _figures(
    proxies: list[FaultProxy], findings: Findings, paid: int, delays: list[float], bids: int = 0
) -> RpcFigures:
    return RpcFigures(
        findings,
        paid,
        sum(proxy.struck.total() for proxy in proxies),
        sum(proxy.asked.total() for proxy in proxies),
        tuple(sorted(delays)),
        bids,
    )


async def _finished(crowd: Crowd, jobs: int, limit_s: float | None) -> list[float]:
    """Wait for that many more deals' final states and return when each came; give up after ``limit_s``."""
    began = time.monotonic()
    before = {deal_id for deal_id, state in crowd.states.items() if state in FINAL}
    done: dict[str, float] = {}
    while len(done) < jobs and (limit_s is None or time.monotonic() - began < limit_s):
        for deal_id, state in list(crowd.states.items()):
            if state in FINAL and deal_id not in before:
                done.setdefault(deal_id, time.monotonic() - began)
        await asyncio.sleep(0.02)
    return list(done.values())


async def endpoints_of(provider: Provider) -> list[dict[str, object]]:
    """Return what the node's status tells of its endpoints."""
    async with aiohttp.ClientSession() as session, session.get(f"{provider.url}/api/v1/status") as answer:
        return list((await answer.json())["chain"]["endpoints"])
