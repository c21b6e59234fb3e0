"""Reading UnixFS from blocks: one node, a path, a byte range, or all blocks of a DAG in depth-first order.

Blocks come from a source that has checked their hashes; what they say about each other is checked here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Protocol

from node.publisher.cid import RAW, BlockId
from node.publisher.dagpb import Kind, decode_node, decode_unixfs
from node.publisher.errors import BadContent
from node.publisher.names import name_problem

MAX_FILE_HEIGHT = 8
"""Levels of nodes below a file's root. With two links per node and 256 KiB chunks that is still 64 MiB."""


class BlockSource(Protocol):
    """Where blocks are read from."""

    def get(self, block_id: BlockId) -> bytes:
        """Return the block's bytes, checked against its digest. Raises BlockMissing."""
        ...


class Scope(StrEnum):
    """How much of a DAG is meant: its root block, the one file or directory listing, or everything."""

    BLOCK = "block"
    ENTITY = "entity"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Part:
    """A link of a file node and the number of file bytes below it."""

    block_id: BlockId
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FileNode:
    """A file, or one node of a file: first its own bytes, then those of its parts."""

    block_id: BlockId
    size_bytes: int
    data: bytes
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A directory entry. ``tsize_bytes`` is what the directory claims for all blocks below: not checked."""

    name: str
    block_id: BlockId
    tsize_bytes: int


@dataclass(frozen=True, slots=True)
class DirectoryNode:
    """A directory, its entries in the order of their names' bytes."""

    block_id: BlockId
    entries: tuple[Entry, ...]

    def find(self, name: str) -> Entry | None:
        """Return the entry with this name."""
        return next((entry for entry in self.entries if entry.name == name), None)


def parse(block_id: BlockId, block: bytes) -> FileNode | DirectoryNode:
    """Return what a block is. Raises BadContent for what is malformed or contradicts itself."""
    if block_id.codec == RAW:
        return FileNode(block_id, len(block), block, ())
    links, data = decode_node(block)
    message = decode_unixfs(data)
    if message.kind is Kind.DIRECTORY:
        if message.data or message.part_sizes:
            raise BadContent(f"directory {block_id} carries file data")
        names = [link.name for link in links]
        for name in names:
            if problem := name_problem(name):
                raise BadContent(f"directory {block_id}: {problem}")
        keys = [name.encode("utf-8") for name in names]
        if any(first >= second for first, second in pairwise(keys)):
            raise BadContent(f"directory {block_id} has its entries twice or out of order")
        return DirectoryNode(
            block_id, tuple(Entry(link.name, link.block_id, link.tsize_bytes) for link in links)
        )
    size_bytes = len(message.data) + sum(message.part_sizes)
    if len(message.part_sizes) != len(links) or message.size_bytes not in {None, size_bytes}:
        raise BadContent(f"file {block_id} has sizes that contradict each other")
    parts = tuple(Part(link.block_id, part) for link, part in zip(links, message.part_sizes, strict=True))
    return FileNode(block_id, size_bytes, message.data, parts)


def load(source: BlockSource, block_id: BlockId) -> FileNode | DirectoryNode:
    """Return what a stored block is. Raises BlockMissing or BadContent."""
    return parse(block_id, source.get(block_id))


def load_part(source: BlockSource, part: Part) -> FileNode:
    """Return a part of a file. Raises BlockMissing, or BadContent if it is not what its parent says."""
    node = load(source, part.block_id)
    if not isinstance(node, FileNode) or node.size_bytes != part.size_bytes:
        raise BadContent(f"block {part.block_id} is not a file part of {part.size_bytes} bytes")
    return node


def resolve(source: BlockSource, root: BlockId, names: Sequence[str]) -> list[BlockId] | None:
    """Return the blocks from the root to the entry that a path names, or None if there is no such entry.

    Raises BlockMissing or BadContent.
    """
    trail = [root]
    for name in names:
        node = load(source, trail[-1])
        entry = node.find(name) if isinstance(node, DirectoryNode) else None
        if entry is None:
            return None
        trail.append(entry.block_id)
    return trail


def read_range(
    source: BlockSource, node: FileNode, first: int, length: int, height: int = MAX_FILE_HEIGHT
) -> Iterator[bytes]:
    """Yield ``length`` bytes of a file from byte ``first`` on, one piece per leaf; reads no leaf in vain."""
    end = first + length
    if piece := node.data[first:end]:
        yield piece
    position = len(node.data)
    for part in node.parts:
        if position < end and position + part.size_bytes > first:
            if height == 0:
                raise BadContent(f"file {node.block_id} has more than {MAX_FILE_HEIGHT} levels")
            start = max(first - position, 0)
            stop = min(end - position, part.size_bytes)
            yield from read_range(source, load_part(source, part), start, stop - start, height - 1)
        position += part.size_bytes


def walk(
    source: BlockSource, root: BlockId, scope: Scope, *, dups: bool = False
) -> Iterator[tuple[BlockId, bytes]]:
    """Yield every block of the scope, depth first, parents before children; once, or with ``dups`` each time.

    Keeps the identifiers of what it has yielded, about 200 bytes a block. Raises BlockMissing or BadContent.
    """
    seen: set[BlockId] = set()
    pending = [root]
    while pending:
        block_id = pending.pop()
        if block_id in seen and not dups:
            continue
        seen.add(block_id)
        block = source.get(block_id)
        yield block_id, block
        if scope is Scope.BLOCK or block_id.codec == RAW:
            continue
        pending.extend(reversed(children(parse(block_id, block), scope)))


def walk_bytes(
    source: BlockSource, root: BlockId, first: int, last: int, height: int = MAX_FILE_HEIGHT
) -> Iterator[tuple[BlockId, bytes]]:
    """Yield the blocks of a file that prove its bytes from ``first`` to ``last``, depth first.

    Raises BlockMissing or BadContent.
    """
    block = source.get(root)
    yield root, block
    node = parse(root, block)
    if not isinstance(node, FileNode):
        raise BadContent(f"block {root} is no file")
    position = len(node.data)
    for part in node.parts:
        if position <= last and position + part.size_bytes > first:
            if height == 0:
                raise BadContent(f"file {root} has more than {MAX_FILE_HEIGHT} levels")
            yield from walk_bytes(source, part.block_id, first - position, last - position, height - 1)
        position += part.size_bytes


def children(node: FileNode | DirectoryNode, scope: Scope = Scope.ALL) -> list[BlockId]:
    """Return the blocks a node links to, in order; the entity scope leaves a directory's entries out."""
    if isinstance(node, FileNode):
        return [part.block_id for part in node.parts]
    return [] if scope is Scope.ENTITY else [entry.block_id for entry in node.entries]
