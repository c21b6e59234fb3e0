"""Where blocks come from: the protocol of a source, and trustless gateways as one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp

from node.destinations import Reach
from node.errors import Unreachable
from node.publisher.cid import BlockId
from node.publisher.fetch_limits import FetchLimits
from node.publisher.fetching.harvest import WrongBlock
from node.publisher.gateway_request import RAW_TYPE

_MAX_REDIRECTS = 3
_PIECE_BYTES = 1 << 16
_MAX_URL_CHARACTERS = 2048
_GONE = {404, 410}


class NotHere(Unreachable):
    """The source answers, and has not got this block."""


class Source(Protocol):
    """Somebody who may have blocks. What it sends is checked by whoever asks."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    async def open(self) -> None:
        """Become ready to be asked; nothing is asked before. Raises a NodeError if it cannot be a source."""
        ...

    async def block(self, block_id: BlockId) -> bytes:
        """Return a block's bytes, unchecked.

        Raises NotHere if the source has not got it, Unreachable if it does not answer now, WrongBlock if what
        it sends cannot be the block.
        """
        ...


class GatewaySource:
    """A trustless gateway, asked for one raw block at a time over connections that stay open.

    One that somebody else ``published`` may not redirect: it could lead to wherever it likes.
    """

    def __init__(
        self, url: str, session: aiohttp.ClientSession, limits: FetchLimits, *, published: bool = False
    ) -> None:
        self.url = checked_gateway(url)
        self._session = session
        self._limits = limits
        self._published = published

    @property
    def name(self) -> str:
        """Its address."""
        return self.url

    async def open(self) -> None:
        """Connections are opened when there is something to ask."""

    def get(self, address: str, accept: str) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Ask for an address below this gateway's own."""
        redirects: dict[str, Any] = {"allow_redirects": False}
        if not self._published:
            redirects = {"max_redirects": _MAX_REDIRECTS}
        return self._session.get(address, headers={"Accept": accept}, **redirects)

    def refusal(self, address: str, answer: aiohttp.ClientResponse) -> str:
        """Return what an answer without content says."""
        moved = self._published and 300 <= answer.status < 400
        why = ", and a gateway that a provider publishes may not redirect" if moved else ""
        return f"{address} answers with status {answer.status}{why}"

    async def block(self, block_id: BlockId) -> bytes:
        """Return a block's bytes, unchecked. Raises NotHere, Unreachable or WrongBlock."""
        address = f"{self.url}/ipfs/{block_id}?format=raw"
        try:
            async with asyncio.timeout(self._limits.idle_s), self.get(address, RAW_TYPE) as answer:
                if answer.status in _GONE:
                    raise NotHere(f"{self.url} has not got block {block_id}")
                if answer.status != 200:
                    raise Unreachable(self.refusal(address, answer))
                return await self._body(block_id, answer)
        except TimeoutError as error:
            raise Unreachable(f"{address} did not answer in time") from error
        except aiohttp.ClientError as error:
            raise Unreachable(f"{address} broke off: {error}") from error

    async def _body(self, block_id: BlockId, answer: aiohttp.ClientResponse) -> bytes:
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise WrongBlock(f"{self.url} sends block {block_id} compressed, which was not asked for")
        data = bytearray()
        async for piece in answer.content.iter_chunked(_PIECE_BYTES):
            data += piece
            if len(data) > self._limits.block_bytes:
                raise WrongBlock(
                    f"{self.url} sends more than {self._limits.block_bytes} bytes as block {block_id}"
                )
        return bytes(data)


@asynccontextmanager
async def http_session(limits: FetchLimits, reach: Reach) -> AsyncIterator[aiohttp.ClientSession]:
    """Open what gateways are asked through, within reach.

    Compressed answers are refused: a few bytes of them could stand for terabytes.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s, sock_read=limits.idle_s)
    async with aiohttp.ClientSession(
        connector=reach.connector(),
        timeout=timeout,
        headers={"Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield session


def checked_gateway(url: str) -> str:
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
