"""Looks at every endpoint once a block: does it answer, does its head advance, does it agree with the others.

Runs beside the calls, while there is more than one endpoint to compare or a WebSocket to listen at. What is
stale or outvoted is set aside in the pool; when no majority agrees, the pool gives no answers until it does.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from node.chain.endpoint import Endpoint, State
from node.chain.endpoints import EndpointPool
from node.chain.heads import Agreement, agreement, behind, survey_period_s
from node.chain.jsonrpc import RpcError
from node.chain.websocket import WsRpc
from node.errors import Unreachable

_LEAST_DEPTH = 2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0
_UNHEARD = frozenset({State.FAILING, State.LIMITED, State.WRONG_CHAIN, State.NEW})


@asynccontextmanager
async def watched(pool: EndpointPool, *, depth: int) -> AsyncIterator[None]:
    """Survey a pool's endpoints while the body runs."""
    watching = asyncio.create_task(Survey(pool, depth=depth).run(), name="rpc survey")
    watching.add_done_callback(_say_if_broken)
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait((watching,))


def _say_if_broken(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        structlog.get_logger().error("rpc_survey_ended", exc_info=error)


class Survey:
    """Keeps the standing of a pool's endpoints. ``depth`` is how many blocks deep they must agree."""

    def __init__(self, pool: EndpointPool, *, depth: int) -> None:
        self._pool = pool
        self._depth = max(depth, _LEAST_DEPTH)
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Look until cancelled. A pool of one endpoint over HTTP needs no looking after."""
        pool = self._pool
        async with asyncio.TaskGroup() as tasks:
            for endpoint in pool.endpoints:
                if isinstance(endpoint.transport, WsRpc):
                    tasks.create_task(self._listen(endpoint, endpoint.transport))
            while len(pool.endpoints) > 1:
                await self.look()
                await pool.clock.sleep(survey_period_s(pool.block_time.seconds))

    async def look(self) -> None:
        """Ask every endpoint for its head and for one block that all must have alike."""
        pool = self._pool
        await asyncio.gather(*(self._see(endpoint) for endpoint in pool.endpoints))
        heard = [endpoint for endpoint in pool.endpoints if endpoint.state not in _UNHEARD]
        heads = {endpoint.name: endpoint.head for endpoint in heard if endpoint.head is not None}
        stale = behind(heads, pool.clock.monotonic(), pool.block_time.seconds)
        current = [endpoint for endpoint in heard if endpoint.name in heads and endpoint.name not in stale]
        # With one voice left there is nothing to compare: who was set aside before stays so, because the one
        # that is left may be the one that was wrong.
        judged = await self._compare(current) if len(current) > 1 else None
        for endpoint in heard:
            apart = endpoint.apart
            if judged is not None and endpoint in current:
                apart = self._accused(endpoint, judged[1]) if endpoint.name in judged[0].apart else None
            self._stand(endpoint, stale.get(endpoint.name), apart)
        if judged is not None:
            self._split(judged[1] if judged[0].split else None)

    async def _see(self, endpoint: Endpoint) -> None:
        if endpoint.retry_at > self._pool.clock.monotonic():
            return
        try:
            await self._pool.attempt(endpoint, "eth_getBlockByNumber", ["latest", False])
        except (RpcError, Unreachable) as problem:
            self._log.debug("rpc_endpoint_unseen", endpoint=endpoint.name, problem=str(problem)[:300])

    async def _compare(self, endpoints: Sequence[Endpoint]) -> tuple[Agreement, str] | None:
        """Return who agrees about the deepest common block, and the contradiction in words."""
        lowest = min(endpoint.head.number for endpoint in endpoints if endpoint.head is not None)
        height = max(0, lowest - self._depth)
        hashes = await self._hashes(endpoints, height)
        if len(set(hashes.values())) > 1:
            # A reorganisation between two questions looks the same: ask again before saying anything.
            hashes = await self._hashes(endpoints, height)
        if len(hashes) < 2:
            return None
        said = ", ".join(f"{name} has {found[:18]}" for name, found in hashes.items())
        return agreement(hashes), f"the RPC endpoints disagree about block {height}: {said}"

    async def _hashes(self, endpoints: Sequence[Endpoint], height: int) -> dict[str, str]:
        async def ask(endpoint: Endpoint) -> str | None:
            try:
                block = await self._pool.attempt(endpoint, "eth_getBlockByNumber", [hex(height), False])
            except (RpcError, Unreachable):
                return None
            found = block.get("hash") if isinstance(block, dict) else None
            return found.lower() if isinstance(found, str) else None

        answers = await asyncio.gather(*(ask(endpoint) for endpoint in endpoints))
        return {
            endpoint.name: found
            for endpoint, found in zip(endpoints, answers, strict=True)
            if found is not None
        }

    def _accused(self, endpoint: Endpoint, contradiction: str) -> str:
        return f"{contradiction}; {endpoint.name} is outvoted and not used"

    def _stand(self, endpoint: Endpoint, stale: str | None, apart: str | None) -> None:
        was = endpoint.state
        endpoint.stands(behind=stale, apart=apart)
        if endpoint.state is not was:
            say = self._log.error if apart else self._log.warning if stale else self._log.info
            say("rpc_endpoint_stands", endpoint=endpoint.name, state=endpoint.state, problem=apart or stale)
            self._pool.on_change()

    def _split(self, contradiction: str | None) -> None:
        pool = self._pool
        remedy = "; nothing is read or sent until they agree: take the wrong one out of chain.rpc_urls"
        text = None if contradiction is None else contradiction + remedy
        if (text is None) != (pool.split is None):
            if text is None:
                self._log.info("rpc_endpoints_agree_again")
            else:
                self._log.error("rpc_endpoints_disagree", problem=text)
        if text != pool.split:
            pool.split = text
            pool.on_change()

    async def _listen(self, endpoint: Endpoint, socket: WsRpc) -> None:
        """Keep a subscription alive; while there is none, whoever waits polls as without it."""
        clock = self._pool.clock
        pause = _FIRST_PAUSE_S
        while True:
            began = clock.monotonic()
            try:
                await socket.listen()
            except (RpcError, Unreachable) as problem:
                self._log.debug("rpc_not_listening", endpoint=endpoint.name, problem=str(problem)[:300])
            pause = _FIRST_PAUSE_S if clock.monotonic() - began > _LONGEST_PAUSE_S else pause
            await clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
            # Blocks may have come while nobody listened.
            self._pool.bell.ring()
