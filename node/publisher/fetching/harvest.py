"""The blocks of one DAG that have arrived: each checked, on disk under its digest, and what is still wanted.

A block is wanted if it is the root or if a block that was taken links to it. Nothing here talks to a network.
What a killed download has left is looked through and taken again if its hash is right.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from node.publisher.blockstore import storage_errors
from node.publisher.cid import RAW, BlockId
from node.publisher.dag import DirectoryNode, FileNode, parse
from node.publisher.errors import BadContent
from node.publisher.fetch_limits import FetchLimits


class BadSource(BadContent):
    """Whoever sent this lies or is broken. It says nothing of the content: what was checked stays good."""


class WrongBlock(BadSource):
    """What arrived is not the block that was asked for: whoever sent it is not to be asked again."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is.

    ``total_bytes`` is what the DAG's nodes claim for what is below them, None before the first has come;
    ``known_blocks`` grows while nodes arrive.
    """

    received_bytes: int
    total_bytes: int | None
    blocks: int
    known_blocks: int


class Harvest:
    """Collects the blocks below a root in an existing folder.

    ``keep`` may be called in any thread, everything else by one at a time. Its methods raise StoreUnavailable
    or StoreFull for trouble with the disk.
    """

    def __init__(self, folder: Path, root: BlockId, limits: FetchLimits) -> None:
        self._folder = folder
        self._limits = limits
        self.root = root
        self.wanted: dict[BlockId, int] = {root: 0}
        """What is still to come, in the order in which it became known, and the bytes claimed for each."""
        self.taken: set[BlockId] = set()
        self.received_bytes = 0
        self._claimed_bytes = 0

    @property
    def complete(self) -> bool:
        """Whether every block is there."""
        return not self.wanted

    def progress(self) -> Progress:
        """Return how far it is."""
        total = self.received_bytes + self._claimed_bytes if self.root in self.taken else None
        known = len(self.taken) + len(self.wanted)
        return Progress(self.received_bytes, total, len(self.taken), known)

    def resume(self) -> None:
        """Take what lies in the folder and is right; remove what is not, or belongs to another download."""
        with storage_errors(self._folder):
            there = {path.name for path in self._folder.iterdir()}
        pending = [self.root]
        while pending:
            block_id = pending.pop()
            if block_id not in self.wanted or block_id.digest.hex() not in there:
                continue
            block = self.get(block_id)
            try:
                self._check(block_id, block)
            except WrongBlock:
                continue
            pending += self.enter(block_id, block)
        needed = {block_id.digest.hex() for block_id in self.taken}
        with storage_errors(self._folder):
            for name in there - needed:
                (self._folder / name).unlink()

    def keep(self, block_id: BlockId, block: bytes) -> None:
        """Check a block and put it on disk. Raises WrongBlock if it is another one."""
        self._check(block_id, block)
        name = self._file(block_id)
        partial = name.with_suffix(".partial")
        with storage_errors(self._folder):
            partial.write_bytes(block)
            partial.rename(name)

    def enter(self, block_id: BlockId, block: bytes) -> list[BlockId]:
        """Account for a wanted block that is kept, and return what it makes wanted.

        Raises BadContent if the content is malformed or too large, whoever sent it.
        """
        limits = self._limits
        if self.received_bytes + len(block) > limits.total_bytes:
            raise BadContent(f"more than {limits.total_bytes} bytes arrived: that is the limit")
        claims = {} if block_id.codec == RAW else _claims(parse(block_id, block))
        self._claimed_bytes -= self.wanted.pop(block_id)
        self.taken.add(block_id)
        self.received_bytes += len(block)
        fresh = [child for child in claims if child not in self.taken and child not in self.wanted]
        for child in fresh:
            self.wanted[child] = min(claims[child], limits.total_bytes)
            self._claimed_bytes += self.wanted[child]
        if len(self.wanted) + len(self.taken) > limits.blocks:
            raise BadContent(f"the content has more than {limits.blocks} blocks: that is the limit")
        return fresh

    def get(self, block_id: BlockId) -> bytes:
        """Return a block that was taken."""
        with storage_errors(self._folder):
            return self._file(block_id).read_bytes()

    def _check(self, block_id: BlockId, block: bytes) -> None:
        limit = self._limits.block_bytes
        if len(block) > limit:
            raise WrongBlock(f"block {block_id} has {len(block)} bytes: allowed are {limit}")
        if hashlib.sha256(block).digest() != block_id.digest:
            raise WrongBlock(f"block {block_id} does not have the bytes its CID promises")

    def _file(self, block_id: BlockId) -> Path:
        return self._folder / block_id.digest.hex()


def _claims(node: FileNode | DirectoryNode) -> dict[BlockId, int]:
    """Return what a node links to, in order, and how many bytes it says that each is with all below."""
    if isinstance(node, FileNode):
        return {part.block_id: part.size_bytes for part in node.parts}
    return {entry.block_id: entry.tsize_bytes for entry in node.entries}
