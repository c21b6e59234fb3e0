"""A bitswap peer as a source of blocks, asked through the embedded node."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from node.errors import NodeError, Unreachable
from node.publisher.cid import BlockId
from node.publisher.fetching.sources import NotHere
from node.publisher.p2p.errors import BlocksNotFound


class Fetches(Protocol):
    """The ``EmbeddedNode``."""

    async def fetch(
        self,
        block_ids: Sequence[BlockId],
        peers: Sequence[str],
        sink: Callable[[BlockId, bytes], Iterable[BlockId]],
    ) -> None:
        """Fetch blocks from peers; the sink returns what else is wanted."""
        ...


class BitswapSource:
    """One peer, by its multiaddresses, which end with its peer id."""

    def __init__(self, node: Fetches, addresses: Sequence[str]) -> None:
        self._node = node
        self._addresses = tuple(addresses)

    @property
    def name(self) -> str:
        """Its first address."""
        return self._addresses[0]

    async def open(self) -> None:
        """The peer is dialled when there is something to ask."""

    async def block(self, block_id: BlockId) -> bytes:
        """Return a block's bytes. Raises NotHere, or Unreachable if the peer or the node is down."""
        found: list[bytes] = []

        def keep(_: BlockId, block: bytes) -> tuple[BlockId, ...]:
            found.append(block)
            return ()

        try:
            await self._node.fetch((block_id,), self._addresses, keep)
        except BlocksNotFound as error:
            raise NotHere(str(error)) from error
        except Unreachable:
            raise
        except NodeError as error:
            # An address that nobody can dial is one more source that does not answer, no end of a download.
            raise Unreachable(f"{self.name}: {error}") from error
        if not found:
            raise NotHere(f"{self.name} has not sent block {block_id}")
        return found[0]
