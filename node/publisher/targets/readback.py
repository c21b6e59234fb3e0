"""Reading a result back: every block is fetched again on another path and hashed, nothing is kept.

The bounds are those of a download, because what answers may be anybody's gateway.
"""

import asyncio
import hashlib

import aiohttp

from node.errors import Unreachable
from node.publisher.car import MEDIA_TYPE, CarReader
from node.publisher.cid import RAW, BlockId
from node.publisher.dag import children, parse
from node.publisher.errors import BadContent
from node.publisher.fetch_limits import DEFAULT_LIMITS, FetchLimits

_PIECE_BYTES = 1 << 20
_MAX_REDIRECTS = 3


class CarCheck:
    """Takes a CAR in pieces and accepts only the whole DAG of one root, each block with the right hash."""

    def __init__(self, root: BlockId, limits: FetchLimits = DEFAULT_LIMITS) -> None:
        self._reader = CarReader(root, max_block_bytes=limits.block_bytes)
        self._limits = limits
        self._wanted = {root}
        self._seen: set[BlockId] = set()
        self.received_bytes = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece. Raises BadContent."""
        self.received_bytes += len(piece)
        if self.received_bytes > self._limits.total_bytes:
            raise BadContent(f"more than {self._limits.total_bytes} bytes arrived: that is the limit")
        for block_id, block in self._reader.feed(piece):
            if hashlib.sha256(block).digest() != block_id.digest:
                raise BadContent(f"block {block_id} does not have the bytes its CID promises")
            # Some exporters send a block again where it is linked again.
            if block_id in self._seen:
                continue
            if block_id not in self._wanted:
                raise BadContent(f"block {block_id} was not asked for")
            self._wanted.discard(block_id)
            self._seen.add(block_id)
            if block_id.codec != RAW:
                self._wanted.update(set(children(parse(block_id, block))) - self._seen)
            if len(self._wanted) + len(self._seen) > self._limits.blocks:
                raise BadContent(f"the content has more than {self._limits.blocks} blocks: that is the limit")

    def finish(self) -> int:
        """Say that the CAR has ended; return its bytes. Raises BadContent unless every block came."""
        self._reader.finish()
        if self._wanted:
            missing = sorted(str(block_id) for block_id in self._wanted)
            raise BadContent(f"{len(missing)} blocks are missing, among them {missing[0]}")
        return self.received_bytes


class GatewayReader:
    """Reads through a trustless gateway at ``url``, http or https without a slash at its end."""

    def __init__(self, url: str, limits: FetchLimits = DEFAULT_LIMITS) -> None:
        self._url = url
        self._limits = limits

    async def read(self, root: BlockId) -> int:
        """Fetch and check the whole DAG. Raises Unreachable or BadContent."""
        limits = self._limits
        timeout = aiohttp.ClientTimeout(
            total=limits.total_s, sock_connect=limits.connect_s, sock_read=limits.idle_s
        )
        # Compressed answers are refused: a few bytes of them could stand for terabytes.
        headers = {"Accept": f"{MEDIA_TYPE}; version=1; order=dfs; dups=n", "Accept-Encoding": "identity"}
        check = CarCheck(root, limits)
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=timeout,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    trust_env=False,
                ) as session,
                session.get(
                    f"{self._url}/ipfs/{root}?format=car&dag-scope=all",
                    headers=headers,
                    max_redirects=_MAX_REDIRECTS,
                ) as answer,
            ):
                if answer.status != 200:
                    raise Unreachable(f"{self._url} answers with status {answer.status}")
                if answer.content_type != MEDIA_TYPE:
                    raise BadContent(f"{self._url} answers with {answer.content_type[:80]!r}, not with a CAR")
                async for piece in answer.content.iter_chunked(_PIECE_BYTES):
                    await asyncio.to_thread(check.feed, piece)
        except TimeoutError as error:
            raise Unreachable(f"{self._url} did not answer in time") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"{self._url} broke off ({type(error).__name__})") from error
        return check.finish()
