"""Which blocks a CAR answer holds and how it says so.

Source: the IPFS trustless gateway specification, its section on CAR responses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from node.publisher.blockstore import BlockStore
from node.publisher.car import MEDIA_TYPE
from node.publisher.cid import BlockId, InlineBlockId
from node.publisher.dag import DirectoryNode, FileNode, Scope, walk, walk_bytes
from node.publisher.gateway_request import Asked


@dataclass(frozen=True, slots=True)
class CarShape:
    """What was asked for, and the node at the end of the path."""

    asked: Asked
    node: FileNode | DirectoryNode

    @property
    def media_type(self) -> str:
        """The media type with everything that is known of the order and of repetitions."""
        return f"{MEDIA_TYPE}; version=1; order=dfs; dups={'y' if self.asked.dups else 'n'}"

    def __str__(self) -> str:
        span = self.asked.entity_bytes
        return f"{self.asked.scope}{f'.{span}' if span else ''}{'.dups' if self.asked.dups else ''}"

    def blocks(self, store: BlockStore, trail: Sequence[BlockId]) -> Iterator[tuple[BlockId, bytes]]:
        """Return the blocks that prove the path, then those of its end; none twice unless that was asked for.

        Raises BadRequest (400) for bytes that lie outside of the file.
        """
        if isinstance(trail[-1], InlineBlockId):
            return iter(())  # its CID is the whole proof
        below = self._below(store, trail[-1])
        return self._once(store, trail[:-1], below)

    def _below(self, store: BlockStore, target: BlockId) -> Iterator[tuple[BlockId, bytes]]:
        span = self.asked.entity_bytes
        if span is None or isinstance(self.node, DirectoryNode):
            return walk(store, target, self.asked.scope, dups=self.asked.dups)
        first, last = span.within(self.node.size_bytes)
        if last < first:
            return walk(store, target, Scope.BLOCK)
        return walk_bytes(store, target, first, last)

    def _once(
        self, store: BlockStore, parents: Sequence[BlockId], below: Iterator[tuple[BlockId, bytes]]
    ) -> Iterator[tuple[BlockId, bytes]]:
        sent: set[BlockId] = set()
        for block_id in parents:
            if self.asked.dups or block_id not in sent:
                sent.add(block_id)
                yield block_id, store.get(block_id)
        for block_id, block in below:
            if self.asked.dups or block_id not in sent:
                sent.add(block_id)
                yield block_id, block
