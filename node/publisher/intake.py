"""Blocks from a stranger: each is checked on arrival, kept only if it was asked for, and then made a tree.

A block is wanted if it is the root or if a block that was taken links to it. Nothing here talks to a network.
"""

import hashlib
import os
from pathlib import Path

from node.publisher.blockstore import storage_errors
from node.publisher.car import CarReader
from node.publisher.cid import RAW, BlockId
from node.publisher.dag import DirectoryNode, FileNode, children, load, parse, read_range
from node.publisher.errors import BadContent
from node.publisher.fetch_limits import FetchLimits


class Intake:
    """Takes one CAR and keeps its blocks in a folder.

    Its methods raise BadContent, and StoreUnavailable or StoreFull for trouble with the disk.
    """

    def __init__(self, folder: Path, root: BlockId, limits: FetchLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._reader = CarReader(root, max_block_bytes=limits.block_bytes)
        self._wanted = {root}
        self._taken: set[BlockId] = set()
        self.received_bytes = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the CAR."""
        self.received_bytes += len(piece)
        if self.received_bytes > self._limits.total_bytes:
            raise BadContent(f"more than {self._limits.total_bytes} bytes arrived: that is the limit")
        for block_id, block in self._reader.feed(piece):
            self._take(block_id, block)

    def finish(self) -> None:
        """Say that the CAR has ended; raises BadContent unless every block is there."""
        self._reader.finish()
        if self._wanted:
            missing = sorted(str(block_id) for block_id in self._wanted)
            raise BadContent(f"{len(missing)} blocks are missing, among them {missing[0]}")

    def get(self, block_id: BlockId) -> bytes:
        """Return a block that was taken."""
        with storage_errors(self._folder):
            return self._file(block_id).read_bytes()

    def _take(self, block_id: BlockId, block: bytes) -> None:
        if block_id in self._taken:
            raise BadContent(f"block {block_id} came twice")
        if block_id not in self._wanted:
            raise BadContent(f"block {block_id} was not asked for")
        if len(block) > self._limits.block_bytes:
            raise BadContent(
                f"block {block_id} has {len(block)} bytes: allowed are {self._limits.block_bytes}"
            )
        if hashlib.sha256(block).digest() != block_id.digest:
            raise BadContent(f"block {block_id} does not have the bytes its CID promises")
        self._wanted.discard(block_id)
        self._taken.add(block_id)
        if block_id.codec != RAW:
            for child in children(parse(block_id, block)):
                if child not in self._taken:
                    self._wanted.add(child)
        if len(self._wanted) + len(self._taken) > self._limits.blocks:
            raise BadContent(f"the content has more than {self._limits.blocks} blocks: that is the limit")
        with storage_errors(self._folder):
            self._file(block_id).write_bytes(block)

    def _file(self, block_id: BlockId) -> Path:
        return self._folder / block_id.digest.hex()


class TreeWriter:
    """Writes the file or directory that an intake holds, each file durable.

    One block can be used many times over, so what is written and what is read for it is bounded on its own.
    """

    def __init__(self, source: Intake, limits: FetchLimits) -> None:
        self._source = source
        self._limits = limits
        self._entries = 0
        self._read_blocks = 0
        self._read_bytes = 0

    def get(self, block_id: BlockId) -> bytes:
        """Return a block and count it, as the source of blocks for everything read here."""
        block = self._source.get(block_id)
        self._read_blocks += 1
        self._read_bytes += len(block)
        if self._read_blocks > self._limits.blocks or self._read_bytes > self._limits.total_bytes:
            raise BadContent(
                f"the tree takes more than {self._limits.blocks} blocks or {self._limits.total_bytes} bytes "
                "to write: that is the limit"
            )
        return block

    def write(self, block_id: BlockId, target: Path, depth: int = 0) -> None:
        """Write what the block stands for to a path that does not exist yet."""
        self._entries += 1
        if self._entries > self._limits.entries:
            raise BadContent(f"the tree has more than {self._limits.entries} entries: that is the limit")
        if depth > self._limits.depth:
            raise BadContent(
                f"the tree is more than {self._limits.depth} directories deep: that is the limit"
            )
        node = load(self, block_id)
        if isinstance(node, DirectoryNode):
            with storage_errors(target.parent):
                target.mkdir()
            for entry in node.entries:
                self.write(entry.block_id, target / entry.name, depth + 1)
        else:
            self._write_file(node, target)

    def _write_file(self, node: FileNode, target: Path) -> None:
        if node.size_bytes > self._limits.total_bytes:
            raise BadContent(f"a file has {node.size_bytes} bytes: the limit is {self._limits.total_bytes}")
        with storage_errors(target.parent), target.open("xb") as file:
            for piece in read_range(self, node, 0, node.size_bytes):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
