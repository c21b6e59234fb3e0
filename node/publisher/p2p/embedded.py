"""The embedded IPFS node as asyncio sees it: start, stop, connect, fetch, provide, and how it is doing.

libp2p lives in a trio thread behind the portal. What breaks there is logged and started again, with longer
pauses each time; it never ends the process. This module is cheap to import: libp2p is not, and is imported in
its thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, TypeVarTuple

import structlog
from trio import TrioInternalError

from node.errors import NodeError
from node.publisher.blockstore import BlockStore
from node.publisher.cid import BlockId
from node.publisher.p2p.errors import P2pUnavailable, PortalClosed
from node.publisher.p2p.portal import TrioPortal

if TYPE_CHECKING:
    from node.publisher.p2p.service import Service

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 120.0
STEADY_S = 60.0
"""A run as long as this was a good one: the next pause is a short one again."""

Sink = Callable[[BlockId, bytes], Iterable[BlockId]]


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Where the node listens and whom it knows. Addresses are multiaddrs."""

    listen: tuple[str, ...]
    announce: tuple[str, ...] = ()
    bootstrap: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerStats:
    """What the embedded node has done since it was last started, in blocks and bytes.

    ``waiting_wants`` are those of peers, at this moment, for blocks that are not here: they are answered when
    the blocks come. ``contained_faults`` counts what broke in libp2p because of one peer and ended that
    peer's stream or connection alone. ``bootstrap_problems`` says which bootstrap peers are not connected,
    and why.
    """

    peers: int
    served_blocks: int
    served_bytes: int
    absent: int
    waiting_wants: int
    received_blocks: int
    received_bytes: int
    unsolicited_blocks: int
    refused_messages: int
    slow_readers: int
    broken_streams: int
    contained_faults: int
    bootstrap_problems: tuple[str, ...]


class EmbeddedNode:
    """A libp2p peer that serves a block store. Its methods are called from one asyncio loop."""

    def __init__(self, store: BlockStore, key_file: Path, settings: PeerSettings) -> None:
        self._store = store
        self._key_file = key_file
        self._settings = settings
        self._log = structlog.get_logger()
        self._portal: TrioPortal | None = None
        self._service: Service | None = None
        self._running: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._addresses: tuple[str, ...] = ()
        self._peer_id = ""
        self._problem: str | None = "starting"
        self._restarts = 0

    async def __aenter__(self) -> Self:
        self.start()
        await self.tried()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def start(self) -> None:
        """Begin to start, which takes seconds: who needs the node at once waits for ``tried``."""
        self._tried.clear()
        self._running = asyncio.create_task(self._keep_running(), name="embedded IPFS node")

    async def tried(self) -> None:
        """Return when the node listens, or its first try to has failed, which is not an error."""
        await self._tried.wait()

    async def close(self) -> None:
        """Stop. Calls in flight end with P2pUnavailable."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
        self._problem = "stopped"

    @property
    def peer_id(self) -> str:
        """The peer id; empty until the node has run once."""
        return self._peer_id

    @property
    def problem(self) -> str | None:
        """Why the node is not running at this moment, or None."""
        return self._problem

    @property
    def restarts(self) -> int:
        """How often the node had to be started again."""
        return self._restarts

    def addresses(self) -> tuple[str, ...]:
        """Return the multiaddrs under which peers reach this node, its peer id in each; none while down."""
        return self._addresses

    async def connect(self, address: str) -> str:
        """Connect to a peer and return its id. Raises Misconfigured, PeerUnreachable or P2pUnavailable."""
        service = self._live()
        return await self._call(service.connect, address)

    async def fetch(self, block_ids: Sequence[BlockId], peers: Sequence[str], sink: Sink) -> None:
        """Fetch blocks from peers, which are multiaddrs that end with their peer ids.

        ``sink`` is called in a thread with each block as it comes, checked, once; it returns what else is
        wanted because of it. Raises PeerUnreachable if no peer can be reached, BlocksNotFound if none of
        them gives a block, P2pUnavailable if the node is down, and what the sink raises.
        """
        service = self._live()
        await self._call(service.fetch, tuple(block_ids), tuple(peers), sink)

    async def provide(self, block_id: BlockId) -> bool:
        """Tell the DHT that this node has a block; return False if no bootstrap peers are configured."""
        service = self._live()
        return await self._call(service.provide, block_id)

    async def stats(self) -> PeerStats:
        """Return what has been done since the last start. Raises P2pUnavailable."""
        service = self._live()
        return await self._call(service.stats)

    async def status(self) -> dict[str, Any]:
        """Return what people and programs are shown; never raises."""
        document: dict[str, Any] = {
            "peer_id": self._peer_id,
            "addresses": list(self._addresses),
            "problem": self._problem,
            "restarts": self._restarts,
        }
        try:
            return document | asdict(await self.stats())
        except P2pUnavailable:
            return document

    def _live(self) -> "Service":
        if self._service is None:
            raise P2pUnavailable(f"the embedded IPFS node is not running: {self._problem}")
        return self._service

    async def _call(self, work: Callable[[*Arguments], Awaitable[Result]], *arguments: *Arguments) -> Result:
        portal = self._portal
        if portal is None:
            raise P2pUnavailable(f"the embedded IPFS node is not running: {self._problem}")
        try:
            return await portal.call(work, *arguments)
        except PortalClosed as error:
            raise P2pUnavailable("the embedded IPFS node stopped meanwhile: try again") from error

    async def _keep_running(self) -> None:
        pause_s = FIRST_PAUSE_S
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._run_once()
                self._problem = "it ended by itself"
            except Exception as error:  # noqa: BLE001 - whatever libp2p breaks with, the process goes on
                self._problem = _told(error)
            self._tried.set()
            if loop.time() - began > STEADY_S:
                pause_s = FIRST_PAUSE_S
            self._restarts += 1
            self._log.error("ipfs_node_down", problem=self._problem, again_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _run_once(self) -> None:
        loop = asyncio.get_running_loop()

        def on_up(service: "Service") -> None:
            loop.call_soon_threadsafe(self._is_up, portal, service, service.peer_id, service.addresses())

        async def run() -> None:
            from node.publisher.p2p.service import run_service

            await run_service(self._store, self._key_file, self._settings, on_up)

        async with TrioPortal("ipfs") as portal:
            self._portal = portal
            try:
                await portal.call(run)
            finally:
                self._portal = self._service = None
                self._addresses = ()

    def _is_up(
        self, portal: TrioPortal, service: "Service", peer_id: str, addresses: tuple[str, ...]
    ) -> None:
        if self._portal is not portal:
            return  # stopped while it came up
        self._service = service
        self._peer_id = peer_id
        self._addresses = addresses
        self._problem = None
        self._log.info("ipfs_node_started", peer_id=peer_id, addresses=list(addresses))
        self._tried.set()


def _told(error: BaseException) -> str:
    """Return what happened, from inside the groups and wrappers of trio and the portal."""
    while True:
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        elif isinstance(error, PortalClosed | TrioInternalError) and error.__cause__ is not None:
            error = error.__cause__
        else:
            return str(error) if isinstance(error, NodeError) else f"{type(error).__name__}: {error}"
