"""A provider's own IPFS node as a source of blocks: where its status says that it is, asked by bitswap.

Nothing that it says is believed: it is bounded and checked for its form, and dialling checks that a peer has
the id it is named with.
"""

import asyncio
import re
import socket
from pathlib import Path
from typing import Any, Self

import aiohttp

from node.destinations import Reach
from node.errors import Unreachable
from node.job.foreign_json import read_json
from node.publisher.blockstore import BlockStore
from node.publisher.cid import BlockId
from node.publisher.fetching.bitswap import BitswapSource
from node.publisher.p2p.embedded import EmbeddedNode, PeerSettings

STATUS_S = 3.0
MAX_STATUS_BYTES = 1 << 20
MAX_ADDRESSES = 4
LISTEN = ("/ip4/127.0.0.1/tcp/0",)
"""Only for itself: a requester asks peers and is asked by none."""
_ADDRESS = re.compile(
    r"/(ip4|ip6|dns|dns4|dns6)/([0-9A-Za-z.:_-]{1,253})(/[0-9A-Za-z./-]{1,64}/p2p/[0-9A-Za-z]{1,128})"
)
_FAMILIES = {"dns": socket.AF_UNSPEC, "dns4": socket.AF_INET, "dns6": socket.AF_INET6}


class ProviderPeer:
    """Meets the downloads' ``Source``. Leaving its context stops the IPFS node that it asks through.

    ``url`` is the provider's published address; ``directory`` is where our IPFS node keeps its key; ``known``
    holds the addresses that providers gave before, which stand in while they do not answer.
    """

    def __init__(self, url: str, directory: Path, reach: Reach, known: dict[str, tuple[str, ...]]) -> None:
        self._url = url
        self._directory = directory
        self._reach = reach
        self._known = known
        self._node: EmbeddedNode | None = None
        self._source: BitswapSource | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._node is not None:
            await self._node.close()

    @property
    def name(self) -> str:
        """Whose node it is."""
        return f"the IPFS node of {self._url}"

    async def open(self) -> None:
        """Find out where the peer is and start our own node. Raises Unreachable."""
        try:
            found = await peer_addresses(self._url, self._reach)
        except Unreachable:
            if self._url not in self._known:
                raise
            found = ()
        if found:
            self._known[self._url] = found
        addresses = self._known.get(self._url, ())
        if not addresses:
            raise Unreachable(f"{self._url} names no IPFS node that may be asked")
        if self._node is None:
            store = BlockStore(self._directory / "ipfs")
            self._node = EmbeddedNode(store, self._directory / "peer.key", PeerSettings(LISTEN))
            self._node.start()
        await self._node.tried()
        self._source = BitswapSource(self._node, addresses)

    async def block(self, block_id: BlockId) -> bytes:
        """Return a block's bytes. Raises NotHere, or Unreachable if the peer or our node is down."""
        if self._source is None:
            raise Unreachable(f"{self.name} was not opened")
        return await self._source.block(block_id)


async def peer_addresses(url: str, reach: Reach) -> tuple[str, ...]:
    """Return the multiaddresses within reach that a node's status names, those over TCP first.

    None if it names none. Raises Unreachable if it gives no status.
    """
    body = b""
    try:
        async with (
            asyncio.timeout(STATUS_S),
            aiohttp.ClientSession(
                connector=reach.connector(), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            ) as session,
            session.get(
                f"{url}/api/v1/status", headers={"Accept-Encoding": "identity"}, allow_redirects=False
            ) as answer,
        ):
            if answer.status != 200:
                raise Unreachable(f"{url} gives no status (HTTP {answer.status})")
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > MAX_STATUS_BYTES:
                    return ()
        async with asyncio.timeout(STATUS_S):
            return await within_reach(read_addresses(read_json(body)), reach)
    except TimeoutError as problem:
        raise Unreachable(f"{url} gave no status within {STATUS_S:g} s") from problem
    except (aiohttp.ClientError, OSError) as problem:
        raise Unreachable(f"{url} cannot be reached: {problem}") from problem
    except ValueError:
        return ()


def read_addresses(status: Any) -> tuple[str, ...]:
    """Return the usable multiaddresses in a status document."""
    ipfs = status.get("ipfs") if isinstance(status, dict) else None
    told = ipfs.get("addresses") if isinstance(ipfs, dict) else None
    if not isinstance(told, list):
        return ()
    usable = [text for text in told[:64] if isinstance(text, str) and _ADDRESS.fullmatch(text)]
    return tuple(sorted(usable, key=lambda text: "/tcp/" not in text)[:MAX_ADDRESSES])


async def within_reach(addresses: tuple[str, ...], reach: Reach) -> tuple[str, ...]:
    """Leave out what is out of reach. Names are resolved here: libp2p would do it without looking."""
    if reach is Reach.ANY:
        return addresses
    found: list[str] = []
    for address in addresses:
        kind, host, rest = _ADDRESS.fullmatch(address).groups()  # type: ignore[union-attr] # checked when read
        hosts = {host} if kind.startswith("ip") else await _resolved(host, _FAMILIES[kind])
        allowed = [one for one in sorted(hosts) if reach.objection(one) is None]
        found += [f"/{'ip6' if ':' in one else 'ip4'}/{one}{rest}" for one in allowed]
    return tuple(found[:MAX_ADDRESSES])


async def _resolved(name: str, family: int) -> set[str]:
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(name, None, family=family, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {str(info[4][0]) for info in infos}
