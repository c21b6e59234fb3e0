"""From blocks to files: the tree below a root, each file durable, with bounds on what it may take."""

import os
from pathlib import Path

from node.publisher.blockstore import storage_errors
from node.publisher.cid import BlockId
from node.publisher.dag import BlockSource, DirectoryNode, FileNode, load, read_range
from node.publisher.errors import BadContent
from node.publisher.fetch_limits import FetchLimits


class TreeWriter:
    """Writes the file or directory whose blocks a source holds, each file durable.

    One block can be used many times over, so what is written and what is read for it is bounded on its own.
    """

    def __init__(self, source: BlockSource, limits: FetchLimits) -> None:
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
