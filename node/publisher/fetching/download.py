"""Verified download: a tree from any sources, without trusting them, that goes on where it was broken off.

Every block is checked against the CID before it is used, and the tree is shown under its name only when it is
complete. Which sources to ask, and what the files mean, is not decided here.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from node.destinations import Reach
from node.errors import Unreachable
from node.publisher.blockstore import storage_errors, sync_folder
from node.publisher.cid import BlockId, parse_cid
from node.publisher.errors import BadContent, StoreUnavailable, TargetOccupied, UnpublishableTree
from node.publisher.fetch_limits import DEFAULT_LIMITS, FetchLimits
from node.publisher.fetching.harvest import BadSource, Harvest, Progress
from node.publisher.fetching.session import BlockSession, OnDrop, log_drop
from node.publisher.fetching.sources import GatewaySource, Source, http_session
from node.publisher.fetching.stream import NoStream, receive_car
from node.publisher.fetching.tree import TreeWriter
from node.publisher.unixfs import CID_V0, CID_V1, cid_of
from node.types import Cid

OnProgress = Callable[[Progress], None]
_BLOCKS = "blocks"


async def fetch(
    gateways: Sequence[str],
    cid: Cid,
    into: Path,
    limits: FetchLimits = DEFAULT_LIMITS,
    on_progress: OnProgress = lambda _: None,
    peers: Sequence[Source] = (),
    *,
    published: Sequence[str] = (),
    reach: Reach = Reach.PUBLIC,
    on_drop: OnDrop = log_drop,
) -> None:
    """Download the tree with this CID to ``into``, which must not exist yet or hold that very tree.

    ``gateways`` are the caller's own choice; those that strangers ``published`` are used within ``reach`` and
    may not redirect. All of them and ``peers`` are asked at once, block by block; a gateway that is the only
    source for everything in one stream first. Safe to repeat after any failure, a kill included: nothing is
    under ``into`` before all is there, and blocks that arrived are not fetched again.
    Raises Unreachable for trouble with the network or if no source has the content, BadContent if it is
    malformed or all sources lie, InvalidCid, TargetOccupied, and StoreUnavailable or StoreFull for the disk.
    """
    root = parse_cid(cid)
    async with http_session(limits, Reach.ANY) as anywhere, http_session(limits, reach) as within_reach:
        chosen = list(dict.fromkeys(gateways))
        asked = [GatewaySource(url, anywhere, limits) for url in chosen]
        asked += [
            GatewaySource(url, within_reach, limits, published=True)
            for url in dict.fromkeys(published)
            if url not in chosen
        ]
        if await asyncio.to_thread(_is_there, into, root):
            return
        async with _workplace(into) as workplace:
            harvest = Harvest(workplace / _BLOCKS, root, limits)
            await _Download(harvest, asked, peers, limits, on_progress, on_drop).run()
            await asyncio.to_thread(_settle, harvest, workplace / "tree", into, limits)


class _Download:
    def __init__(
        self,
        harvest: Harvest,
        gateways: Sequence[GatewaySource],
        peers: Sequence[Source],
        limits: FetchLimits,
        on_progress: OnProgress,
        on_drop: OnDrop,
    ) -> None:
        self._harvest = harvest
        self._gateways = gateways
        self._peers = peers
        self._limits = limits
        self._on_progress = on_progress
        self._on_drop = on_drop
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Gather every block. Raises Unreachable after the last attempt."""
        await asyncio.to_thread(self._harvest.resume)
        if self._harvest.taken:
            self._tell()
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(Unreachable),
            stop=stop_after_attempt(self._limits.attempts),
            wait=wait_exponential(multiplier=self._limits.retry_wait_s),
            reraise=True,
        )
        try:
            async with asyncio.timeout(self._limits.total_s):
                await attempts(self._attempt)
        except TimeoutError as error:
            raise Unreachable(
                f"{self._harvest.root} did not arrive within {self._limits.total_s:g} s: try again, "
                "what has come is kept"
            ) from error

    async def _attempt(self) -> None:
        if self._harvest.complete:
            return
        if len(self._gateways) == 1 and not self._peers and not self._harvest.taken:
            try:
                await receive_car(self._gateways[0], self._harvest, self._limits, self._tell)
            except Unreachable as problem:
                # What has come is worth going on with, block by block, and so is a gateway without streams.
                if not (self._harvest.taken or isinstance(problem, NoStream)):
                    raise
                self._log.info("stream_broken_off", problem=str(problem), blocks=len(self._harvest.taken))
            else:
                return
        sources = [*self._gateways, *self._peers]
        await BlockSession(self._harvest, sources, self._tell, self._on_drop).run()

    def _tell(self) -> None:
        self._on_progress(self._harvest.progress())


def _settle(harvest: Harvest, tree: Path, into: Path, limits: FetchLimits) -> None:
    with storage_errors(tree):
        if tree.is_dir():
            shutil.rmtree(tree)
        else:
            tree.unlink(missing_ok=True)
    TreeWriter(harvest, limits).write(harvest.root, tree)
    with storage_errors(into):
        tree.rename(into)
        sync_folder(into.parent)


@asynccontextmanager
async def _workplace(into: Path) -> AsyncIterator[Path]:
    """Own the folder beside ``into`` where blocks wait; it goes when all is done, or was no good.

    What only a source did wrong leaves the blocks that came before, for the next download to go on with.
    """
    workplace = into.parent / f".{into.name}.part"
    descriptor = await asyncio.to_thread(_take, workplace, into)
    try:
        try:
            yield workplace
        except BadSource:
            if not any((workplace / _BLOCKS).iterdir()):
                await asyncio.to_thread(shutil.rmtree, workplace, ignore_errors=True)
            raise
        except BadContent:
            await asyncio.to_thread(shutil.rmtree, workplace, ignore_errors=True)
            raise
        await asyncio.to_thread(shutil.rmtree, workplace, ignore_errors=True)
    finally:
        os.close(descriptor)


def _take(workplace: Path, into: Path) -> int:
    """Make the folder and lock it; return what holds the lock until it is closed. Raises StoreUnavailable."""
    with storage_errors(into.parent):
        into.parent.mkdir(parents=True, exist_ok=True)
        workplace.mkdir(exist_ok=True)
        descriptor = os.open(workplace, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with storage_errors(workplace):
            (workplace / _BLOCKS).mkdir(exist_ok=True)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StoreUnavailable(f"another download to {into} is running: wait for it") from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_there(into: Path, root: BlockId) -> bool:
    """Return whether the tree is at ``into`` already. Raises TargetOccupied if something else is."""
    if not os.path.lexists(into) or (into.is_dir() and not any(into.iterdir())):
        return False
    try:
        found = cid_of(into, CID_V0 if root.version == 0 else CID_V1)
    except UnpublishableTree as error:
        raise TargetOccupied(f"{into} exists and is not {root}: {error}") from error
    if found != root.to_cid():
        raise TargetOccupied(f"{into} exists and is {found}, not {root}: choose another place or remove it")
    return True
