"""Verified download: a tree from any trustless gateway, without trusting it.

Asks for one CAR, checks every block against the CID before it is used, and shows the tree under its name only
when it is complete. Which gateway to ask, and what the files mean, is not decided here.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from node.errors import Unreachable
from node.publisher.blockstore import storage_errors, sync_folder
from node.publisher.car import MEDIA_TYPE
from node.publisher.cid import BlockId, parse_cid
from node.publisher.errors import BadContent, StoreUnavailable, TargetOccupied, UnpublishableTree
from node.publisher.fetch_limits import DEFAULT_LIMITS, FetchLimits
from node.publisher.intake import Intake, TreeWriter
from node.publisher.unixfs import CID_V0, CID_V1, cid_of
from node.types import Cid

_PIECE_BYTES = 1 << 20
_MAX_REDIRECTS = 3
_MAX_URL_CHARACTERS = 2048


async def fetch(
    gateway_url: str,
    cid: Cid,
    into: Path,
    limits: FetchLimits = DEFAULT_LIMITS,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Download the tree with this CID to ``into``, which must not exist yet or hold that very tree.

    ``on_progress`` gets the bytes received so far in this attempt. Safe to repeat after any failure: a broken
    attempt leaves nothing under ``into``.
    Raises Unreachable for trouble with the network or a gateway without this content, BadContent for one that
    lies, InvalidCid, TargetOccupied, and StoreUnavailable or StoreFull for the disk.
    """
    root = parse_cid(cid)
    address = f"{_checked_gateway(gateway_url)}/ipfs/{cid}?format=car&dag-scope=all"
    if await asyncio.to_thread(_is_there, into, root):
        return
    attempts = AsyncRetrying(
        retry=retry_if_exception_type(Unreachable),
        stop=stop_after_attempt(limits.attempts),
        wait=wait_exponential(multiplier=limits.retry_wait_s),
        reraise=True,
    )
    await attempts(_attempt, address, root, into, limits, on_progress)


async def _attempt(
    address: str, root: BlockId, into: Path, limits: FetchLimits, on_progress: Callable[[int], None] | None
) -> None:
    with _workplace(into) as workplace:
        intake = Intake(workplace / "blocks", root, limits)
        try:
            async with asyncio.timeout(limits.total_s):
                await _receive(address, intake, limits, on_progress)
        except TimeoutError as error:
            raise Unreachable(f"{address} did not answer in time") from error
        except aiohttp.ClientError as error:
            raise Unreachable(f"{address} broke off: {error}") from error
        await asyncio.to_thread(_settle, intake, root, workplace / "tree", into, limits)


async def _receive(
    address: str, intake: Intake, limits: FetchLimits, on_progress: Callable[[int], None] | None
) -> None:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s, sock_read=limits.idle_s)
    # Compressed answers are refused: a few bytes of them could stand for terabytes.
    headers = {"Accept": f"{MEDIA_TYPE}; version=1; order=dfs; dups=n", "Accept-Encoding": "identity"}
    async with (
        aiohttp.ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
        ) as session,
        session.get(address, headers=headers, max_redirects=_MAX_REDIRECTS) as answer,
    ):
        if answer.status != 200:
            raise Unreachable(f"{address} answers with status {answer.status}")
        if (
            answer.content_type != MEDIA_TYPE
            or answer.headers.get("Content-Encoding", "identity") != "identity"
        ):
            raise BadContent(
                f"{address} answers with {answer.content_type[:80]!r}, not with a plain {MEDIA_TYPE}"
            )
        async for piece in answer.content.iter_chunked(_PIECE_BYTES):
            await asyncio.to_thread(intake.feed, piece)
            if on_progress is not None:
                on_progress(intake.received_bytes)
        intake.finish()


def _settle(intake: Intake, root: BlockId, tree: Path, into: Path, limits: FetchLimits) -> None:
    TreeWriter(intake, limits).write(root, tree)
    with storage_errors(into):
        tree.rename(into)
        sync_folder(into.parent)


@contextmanager
def _workplace(into: Path) -> Iterator[Path]:
    """Own an empty folder beside ``into``; what an attempt that was killed has left in it is removed."""
    workplace = into.parent / f".{into.name}.part"
    with storage_errors(into.parent):
        into.parent.mkdir(parents=True, exist_ok=True)
        workplace.mkdir(exist_ok=True)
        descriptor = os.open(workplace, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreUnavailable(f"another download to {into} is running: wait for it") from error
        with storage_errors(workplace):
            for leftover in workplace.iterdir():
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
            (workplace / "blocks").mkdir()
        try:
            yield workplace
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
    finally:
        os.close(descriptor)


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


def _checked_gateway(url: str) -> str:
    """Return a gateway's address without a last slash. Raises Unreachable: such an address never answers."""
    shown = repr(url[:200])
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise Unreachable(f"{shown} is no gateway address: {error}") from error
    if (
        not usable
        or parts.username is not None
        or parts.query
        or parts.fragment
        or len(url) > _MAX_URL_CHARACTERS
    ):
        raise Unreachable(
            f"{shown} is no gateway address: allowed is http or https with a host, "
            "without user, query or fragment"
        )
    return parts.geturl().rstrip("/")
