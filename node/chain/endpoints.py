"""Several RPC endpoints that answer as one, and go on when one of them fails, lags or lies.

Calls stay on one endpoint until it fails (the first of the settings that is sound), go over to the next at
once, and come back when a preferred one has been sound for a while. Outcomes of executions are answers and
are never asked elsewhere. Reads that belong together are made through ``pinned``. Signed transactions go to
every sound endpoint. Endpoints that contradict each other without a majority stop all calls: with two that
disagree nobody can tell which one lies. How they compare is looked at in ``survey``.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog

from node.chain.endpoint import ChainIdentity, Connect, Endpoint, EndpointReport, State, WrongChain, connect
from node.chain.heads import BlockTime, silence_s
from node.chain.hedge import hedged
from node.chain.hexadecimal import BadReply
from node.chain.jsonrpc import EndpointLost, RateLimited, ReplyTooLarge, RpcError, TimedOut
from node.chain.newest import Newest
from node.chain.refusals import Refusal, kind_of
from node.chain.wakeup import HeadBell
from node.clock import Clock, SystemClock
from node.errors import Misconfigured, Unreachable

FAIL_BACK_AFTER_S = 30.0
_SEND = "eth_sendRawTransaction"
_HEAVY = frozenset({"eth_getLogs", "eth_getBlockReceipts", "eth_feeHistory"})
"""Methods that a sound endpoint may take long for: their silence says nothing about it."""

_LACKS = frozenset({Refusal.UNKNOWN_BLOCK, Refusal.STATE_GONE, Refusal.UNSUPPORTED})
_PAUSES_S = (0.1, 0.4)
"""Before a call is given to the same endpoint again, for want of another one."""

_SHORT_WAIT_S = 2.0


class _Elsewhere(Exception):
    """This endpoint lacks what was asked; ``answer`` is what to say if all lack it."""

    def __init__(self, answer: RpcError | None) -> None:
        super().__init__()
        self.answer = answer


class EndpointPool:
    """Meets ``JsonRpc``. ``on_failure`` hears the kind of each failed call, ``on_change`` of each new state.

    ``chain_id`` 0 takes the chain of the first endpoint that answers. Nothing is opened before a call.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        chain_id: int = 0,
        timeout_s: float = 10.0,
        clock: Clock | None = None,
        connect: Connect = connect,
        on_failure: Callable[[str], None] = lambda _: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.bell = HeadBell()
        self.block_time = BlockTime()
        self.identity = ChainIdentity(chain_id)
        self.clock = clock or SystemClock()
        self.on_failure = on_failure
        self.on_change = on_change
        self.split: str | None = None
        self._longest_s = timeout_s
        transports = [
            connect(url, timeout_s=timeout_s, identity=self.identity, on_push=self.bell.ring) for url in urls
        ]
        names = _distinct([transport.name for transport in transports])
        self.endpoints = tuple(
            Endpoint(name, transport, self.clock) for name, transport in zip(names, transports, strict=True)
        )
        self._active = self.endpoints[0]
        self._newest = Newest(self.clock)
        self._heading: asyncio.Task[Any] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._log = structlog.get_logger()

    @property
    def name(self) -> str:
        """The endpoint in use, without anything secret."""
        return self._active.name

    @property
    def chain_id(self) -> int:
        """The chain that every endpoint in use serves, 0 before one was reached without a setting."""
        return self.identity.chain_id

    async def open(self) -> int:
        """Reach one endpoint and return the chain's id.

        Raises Misconfigured if every endpoint serves another chain, Unreachable if none answers.
        """
        try:
            await self.call("eth_chainId", [])
        except Unreachable as error:
            wrong = [endpoint for endpoint in self.endpoints if endpoint.state is State.WRONG_CHAIN]
            if len(wrong) == len(self.endpoints):
                raise Misconfigured("; ".join(str(endpoint.problem) for endpoint in wrong)) from error
            raise
        return self.chain_id

    async def call(self, method: str, params: Sequence[object]) -> Any:
        """Return the raw result from an endpoint that is sound.

        Raises RpcError when the answer is a refusal, Unreachable when no endpoint gives an answer, or while
        they contradict each other.
        """
        if method == _SEND:
            return await self._broadcast(params)
        return await self._ask(method, params, self.endpoints)

    def pinned(self) -> "PinnedEndpoint":
        """Return a view in which one endpoint answers everything, so that its answers fit together."""
        return PinnedEndpoint(self, self._choose(self.endpoints, frozenset()) or self._active)

    def reports(self) -> list[EndpointReport]:
        """Return the standing of every endpoint, in the order of the settings."""
        heads = [endpoint.head.number for endpoint in self.endpoints if endpoint.head is not None]
        best = max(heads, default=None)
        return [endpoint.report(best, active=endpoint is self._active) for endpoint in self.endpoints]

    async def close(self) -> None:
        """Close all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(endpoint.transport.close() for endpoint in self.endpoints))

    async def ask_one(self, endpoint: Endpoint, method: str, params: Sequence[object]) -> Any:
        """Ask this endpoint only; raises EndpointLost if it failed and another one could take over."""
        try:
            return await self._ask(method, params, (endpoint,))
        except Unreachable as error:
            others = any(other.usable for other in self.endpoints)
            if self.split is None and others and not endpoint.usable:
                raise EndpointLost(str(error)) from error
            raise

    async def attempt(self, endpoint: Endpoint, method: str, params: Sequence[object]) -> Any:
        """Ask one endpoint once, and keep account of how it did. Raises RpcError and Unreachable."""
        try:
            if method in _HEAVY:
                result = await endpoint.transport.call(method, params, self._longest_s)
            else:
                limit_s = silence_s(self.block_time.seconds, self._longest_s)
                result = await hedged(partial(endpoint.transport.call, method, params), limit_s)
        except RpcError as error:
            match kind_of(error):
                case Refusal.RATE_LIMITED:
                    limited = RateLimited(f"RPC endpoint {endpoint.name}: {error.message:.200}")
                    self.blame(endpoint, limited)
                    raise limited from error
                case Refusal.INTERNAL:
                    failed = Unreachable(f"RPC endpoint {endpoint.name} failed: {error.message:.200}")
                    self.blame(endpoint, failed)
                    raise failed from error
            self._praise(endpoint)
            raise
        except ReplyTooLarge:
            raise
        except TimedOut as error:
            if method not in _HEAVY:
                self.blame(endpoint, error)
                if endpoint.failures > 1:
                    # Its other connections may be half-open as well.
                    await endpoint.transport.close()
            raise
        except Unreachable as error:
            self.blame(endpoint, error)
            raise
        self._praise(endpoint)
        self._learn(endpoint, method, params, result)
        return result

    def _praise(self, endpoint: Endpoint) -> None:
        was = endpoint.state
        endpoint.answered()
        if endpoint.state is not was:
            if was is not State.NEW:
                self._log.info("rpc_endpoint_up", endpoint=endpoint.name)
            self.on_change()

    def blame(self, endpoint: Endpoint, error: Unreachable) -> None:
        """Take note of a failure: the endpoint is passed over while it backs off."""
        was = endpoint.state
        kind = endpoint.failed(error)
        self.on_failure(kind)
        if endpoint.state is not was:
            say = self._log.error if isinstance(error, WrongChain) else self._log.warning
            say("rpc_endpoint_failed", endpoint=endpoint.name, kind=kind, problem=str(error)[:300])
            self.on_change()

    def _learn(self, endpoint: Endpoint, method: str, params: Sequence[object], result: Any) -> None:
        """Take from an answer what it says about the chain's height; its shape is checked by the reader."""
        if not isinstance(result, dict):
            return
        try:
            if method == "eth_getBlockByNumber":
                number = int(result["number"], 16)
                if params[0] == "latest":
                    timestamp = int(result["timestamp"], 16)
                    endpoint.saw(number, timestamp)
                    self.block_time.add(number, timestamp)
                    self._newest.head(number)
                else:
                    self._newest.reached(number)
            elif method == "eth_getTransactionReceipt":
                self._newest.reached(int(result["blockNumber"], 16))
        except (KeyError, TypeError, ValueError):
            return

    async def _ask(self, method: str, params: Sequence[object], among: Sequence[Endpoint]) -> Any:
        if self._newest.needed_for(method, params):
            await self._see_head(among)
            params = self._newest.numbered(method, params)
        began = self.clock.monotonic()
        tried: list[Endpoint] = []
        lacking: _Elsewhere | None = None
        failure: Unreachable | None = None
        again = True
        while True:
            if self.split is not None:
                raise Unreachable(self.split)
            endpoint = await self._next(among, tried, began, again=again)
            if endpoint is None:
                break
            tried.append(endpoint)
            try:
                result = await self.attempt(endpoint, method, params)
                if result is None and self._lacks(method, params):
                    lacking = _Elsewhere(None)
                    continue
            except RpcError as error:
                kind = kind_of(error)
                if kind not in _LACKS:
                    raise
                # A block may come; a method or an old state will not.
                again = again and kind is Refusal.UNKNOWN_BLOCK
                lacking = _Elsewhere(error)
            except ReplyTooLarge:
                raise
            except Unreachable as error:
                failure = error
            else:
                return result
        return _last_word(lacking, failure, among)

    def _lacks(self, method: str, params: Sequence[object]) -> bool:
        """Whether nothing is the wrong answer: a block of a height that was seen before."""
        number = params[0] if method == "eth_getBlockByNumber" else None
        return isinstance(number, str) and number.startswith("0x") and self._newest.has(int(number, 16))

    async def _see_head(self, among: Sequence[Endpoint]) -> None:
        if self._newest.fresh:
            return
        if self._heading is None or self._heading.done():
            # One question for all who wait: one after the other they would each wait for a silent endpoint.
            asking = self._ask("eth_getBlockByNumber", ["latest", False], among)
            self._heading = asyncio.create_task(asking)
            self._tasks.add(self._heading)
            self._heading.add_done_callback(self._ended)
        await asyncio.shield(self._heading)

    async def _next(
        self, among: Sequence[Endpoint], tried: list[Endpoint], began: float, *, again: bool
    ) -> Endpoint | None:
        """Return whom to ask next: each one once, and then the same ``again`` after a short pause."""
        endpoint = self._choose(among, frozenset(tried))
        if endpoint is None:
            repeats = len(tried) - len(set(tried))
            waited = self.clock.monotonic() - began
            endpoint = self._choose(among, frozenset()) if again else None
            if endpoint is None or repeats >= len(_PAUSES_S) or waited >= 2 * self._longest_s:
                return None
            await self.clock.sleep(_PAUSES_S[repeats])
        if endpoint.state is State.LIMITED and (wait := endpoint.retry_at - self.clock.monotonic()) > 0:
            await self.clock.sleep(wait)
        return endpoint

    def _choose(self, among: Sequence[Endpoint], without: frozenset[Endpoint]) -> Endpoint | None:
        now = self.clock.monotonic()
        sound = [endpoint for endpoint in among if endpoint.usable and endpoint not in without]
        if sound:
            settled = (e for e in sound if e is self._active or now - e.good_since >= FAIL_BACK_AFTER_S)
            chosen = next(settled, sound[0])
            if len(among) > 1 and not (without and self._active.usable):
                self._activate(chosen)
            return chosen
        # For want of a sound one: whoever may be asked soonest, but an endpoint's own wish to wait is kept.
        rest = [
            endpoint
            for endpoint in among
            if endpoint.trusted
            and endpoint not in without
            and not (endpoint.state is State.LIMITED and endpoint.retry_at - now > _SHORT_WAIT_S)
        ]
        return min(rest, key=lambda endpoint: (endpoint.behind is not None, endpoint.retry_at), default=None)

    def _activate(self, endpoint: Endpoint) -> None:
        if endpoint is not self._active:
            self._log.warning("rpc_endpoint_changed", now=endpoint.name, before=self._active.name)
            self._active = endpoint
            self.on_change()

    async def _broadcast(self, params: Sequence[object]) -> Any:
        """Hand signed bytes to every sound endpoint; the first acceptance counts."""
        targets = [endpoint for endpoint in self.endpoints if endpoint.usable]
        if self.split is not None or len(targets) < 2:
            return await self._ask(_SEND, params, self.endpoints)
        sending = [asyncio.create_task(self.attempt(endpoint, _SEND, params)) for endpoint in targets]
        for task in sending:
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        for finished in asyncio.as_completed(sending):
            try:
                return await finished
            except (RpcError, Unreachable):
                continue
        refusals = [error for task in sending if isinstance(error := task.exception(), RpcError)]
        known = (error for error in refusals if kind_of(error) is Refusal.ALREADY_KNOWN)
        raise next(known, None) or next(iter(refusals), None) or _unreachable(self.endpoints)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()


class PinnedEndpoint:
    """Meets ``JsonRpc`` with one endpoint, which is never exchanged."""

    def __init__(self, pool: EndpointPool, endpoint: Endpoint) -> None:
        self._pool = pool
        self._endpoint = endpoint

    async def call(self, method: str, params: Sequence[object]) -> Any:
        """Return the raw result; raises as the pool, and EndpointLost if another one could take over."""
        return await self._pool.ask_one(self._endpoint, method, params)

    def doubt(self, problem: BadReply) -> None:
        """Set the endpoint aside for a while: its answers do not fit together."""
        self._pool.blame(self._endpoint, problem)


def _last_word(lacking: _Elsewhere | None, failure: Unreachable | None, among: Sequence[Endpoint]) -> Any:
    """Return or raise what is known after every endpoint was asked in vain."""
    if lacking is not None:
        if lacking.answer is None:
            return None
        if kind_of(lacking.answer) is Refusal.UNKNOWN_BLOCK:
            raise Unreachable(
                f"no RPC endpoint has the block that was asked for: {lacking.answer.message:.200}"
            ) from lacking.answer
        raise lacking.answer
    if failure is not None and len(among) == 1:
        raise failure
    raise _unreachable(among) from failure


def _unreachable(endpoints: Sequence[Endpoint]) -> Unreachable:
    problems = "; ".join(f"{e.problem or f'RPC endpoint {e.name} gave no answer'}" for e in endpoints)
    return Unreachable(problems or "no RPC endpoint is set: set chain.rpc_urls")


def _distinct(names: Sequence[str]) -> list[str]:
    """Number the names that stand for several endpoints, which differ only in what is never shown."""
    return [
        name if names.count(name) == 1 else f"{name} ({names[: index + 1].count(name)})"
        for index, name in enumerate(names)
    ]
