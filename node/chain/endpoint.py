"""One RPC endpoint as the pool sees it: its transport, whether it may be used now, and why not.

Its chain id is checked on every connection before an answer over it is handed out. Which endpoint gets which
call is decided in ``endpoints``; how they compare with each other is found in ``survey``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import urlsplit

from node.chain import hexadecimal
from node.chain.heads import Head
from node.chain.hexadecimal import BadReply
from node.chain.jsonrpc import RateLimited, TimedOut
from node.chain.rpc import Ask, Greet, Rpc
from node.chain.websocket import WsRpc
from node.clock import Clock
from node.errors import Unreachable

_FIRST_BACK_OFF_S, _LONGEST_BACK_OFF_S = 0.5, 15.0


class Transport(Protocol):
    """What carries the requests of one endpoint; ``name`` is all that is shown of its address."""

    name: str

    async def call(self, method: str, params: Sequence[object], timeout_s: float | None = None) -> Any:
        """Return the raw result; raises RpcError or Unreachable."""
        ...

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        ...


class State(StrEnum):
    """What an endpoint is good for now."""

    NEW = "new"
    UP = "up"
    FAILING = "failing"
    LIMITED = "rate limited"
    BEHIND = "behind"
    APART = "disagrees"
    WRONG_CHAIN = "wrong chain"


class WrongChain(Unreachable):
    """The endpoint serves another chain: none of its answers is used. ``found`` is the chain it serves."""

    def __init__(self, name: str, found: int, expected: int) -> None:
        super().__init__(
            f"the RPC endpoint {name} serves chain {found}, not chain {expected}: "
            "check chain.rpc_urls and chain.chain_id"
        )
        self.found = found


class ChainIdentity:
    """The chain id that every endpoint must serve; 0 takes the one that is found first."""

    def __init__(self, chain_id: int) -> None:
        self.chain_id = chain_id

    async def check(self, name: str, ask: Ask) -> None:
        """Ask one connection for its chain; raises WrongChain."""
        found = hexadecimal.quantity(await ask("eth_chainId", []), "chain id")
        self.chain_id = self.chain_id or found
        if found != self.chain_id:
            raise WrongChain(name, found, self.chain_id)


@dataclass(frozen=True, slots=True)
class EndpointReport:
    """An endpoint for people: ``lag`` in blocks under the best head, None while no head is known."""

    name: str
    state: str
    active: bool
    head: int | None
    head_timestamp: int | None
    lag: int | None
    problem: str | None


class Endpoint:
    """Mutable standing of one endpoint. ``usable`` endpoints get calls; others only if there is none."""

    def __init__(self, name: str, transport: Transport, clock: Clock) -> None:
        self.name = name
        self.transport = transport
        self.head: Head | None = None
        self.behind: str | None = None
        self.apart: str | None = None
        self.retry_at = 0.0
        self.good_since = float("-inf")
        self._clock = clock
        self.failures = 0
        self._state = State.NEW
        self._problem: str | None = None

    @property
    def state(self) -> State:
        """The worst that is known of it."""
        if self._state in {State.WRONG_CHAIN, State.FAILING, State.LIMITED}:
            return self._state
        if self.apart:
            return State.APART
        return State.BEHIND if self.behind else self._state

    @property
    def problem(self) -> str | None:
        """Why it is not used, None if it is sound."""
        return self._problem or self.apart or self.behind

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against it."""
        return self.state in {State.NEW, State.UP}

    @property
    def trusted(self) -> bool:
        """Whether it may be asked at all: a liar may not, one that failed or lags may, for want of better."""
        return self.apart is None

    def answered(self) -> None:
        """Take note of an answer, whatever it said."""
        if self._state is not State.UP:
            if self._state is not State.NEW:
                self.good_since = self._clock.monotonic()
            self._state = State.UP
            self.failures = 0
            self._problem = None
            self.retry_at = 0.0

    def failed(self, error: Unreachable) -> str:
        """Take note of a call without an answer, and return the kind of failure as metrics name it."""
        self.failures += 1
        wait = min(_FIRST_BACK_OFF_S * 2 ** min(self.failures - 1, 10), _LONGEST_BACK_OFF_S)
        self._state, kind = State.FAILING, "unreachable"
        match error:
            case RateLimited():
                self._state, kind = State.LIMITED, "rate_limited"
                wait = wait if error.retry_after_s is None else error.retry_after_s
            case WrongChain():
                self._state, kind = State.WRONG_CHAIN, "wrong_chain"
            case TimedOut():
                kind = "timeout"
            case BadReply():
                kind = "bad_reply"
        self._problem = str(error)
        self.retry_at = self._clock.monotonic() + wait
        return kind

    def stands(self, *, behind: str | None, apart: str | None) -> None:
        """Set what the comparison with the other endpoints found."""
        if (self.behind or self.apart) and not (behind or apart):
            self.good_since = self._clock.monotonic()
        self.behind, self.apart = behind, apart

    def saw(self, number: int, timestamp: int) -> None:
        """Take note of its newest block."""
        if self.head is None or self.head.number != number:
            self.head = Head(number, timestamp, self._clock.monotonic())

    def report(self, best: int | None, *, active: bool) -> EndpointReport:
        """Return its standing for people."""
        head = self.head
        return EndpointReport(
            self.name,
            self.state.value,
            active,
            None if head is None else head.number,
            None if head is None else head.timestamp,
            None if head is None or best is None else max(0, best - head.number),
            self.problem,
        )


class Connect(Protocol):
    """Makes the transport for an address."""

    def __call__(
        self, url: str, *, timeout_s: float, identity: ChainIdentity, on_push: Callable[[], None]
    ) -> Transport:
        """Return the transport; nothing is opened yet."""
        ...


def connect(
    url: str, *, timeout_s: float, identity: ChainIdentity, on_push: Callable[[], None]
) -> Rpc | WsRpc:
    """Return the transport for an address; nothing is opened yet. Raises Misconfigured."""
    transport: Rpc | WsRpc

    async def greet(ask: Ask) -> None:
        await identity.check(transport.name, ask)

    checked: Greet = greet
    if urlsplit(url).scheme in {"ws", "wss"}:
        transport = WsRpc(url, timeout_s=timeout_s, greet=checked, on_push=on_push)
    else:
        transport = Rpc(url, timeout_s=timeout_s, greet=checked)
    return transport
