"""UnixFS import: from a file or a directory to its blocks and its CID.

The default layout gives the CID of ``ipfs add -r --cid-version=1 --raw-leaves``: chunks of 262144 bytes, a
balanced tree of at most 174 links per node, hidden entries left out. Reads as a stream, hashes each byte once
and leaves the blocks to a sink. Trees are walked by file descriptor and no link is ever followed.
"""

import errno
import hashlib
import os
import stat
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from node.publisher.cid import DAG_PB, RAW, BlockId
from node.publisher.dagpb import Kind, Link, UnixFsData, encode_node, encode_unixfs
from node.publisher.errors import StoreUnavailable, UnpublishableTree
from node.publisher.names import name_problem
from node.types import Cid

MAX_DEPTH = 32
SHARDING_BYTES = 256 * 1024
"""Kubo shards a directory whose names and CIDs together are larger than this; such a directory is refused."""

_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OURS_TO_WAIT_FOR = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EINTR}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tree is cut into blocks. Two layouts of one tree have two CIDs."""

    cid_version: int = 1
    raw_leaves: bool = True
    chunk_bytes: int = 262144
    links_per_node: int = 174


CID_V1 = Layout()
"""What the node publishes."""

CID_V0 = Layout(cid_version=0, raw_leaves=False)
"""``ipfs add -r --cid-version=0``: what the solver's protocol names as the data CID."""


class BlockSink(Protocol):
    """Takes blocks as they are made. The buffer is used again after the call."""

    def put(self, digest: bytes, block: bytes | memoryview) -> None:
        """Keep one block under its SHA-256 digest."""
        ...


class BlockTarget(Protocol):
    """A store that takes a whole tree: what was put is durable when the context ends without an error."""

    def writer(self) -> AbstractContextManager[BlockSink]:
        """Return the sink for one tree."""
        ...


def cid_of(path: str | Path, layout: Layout = CID_V1) -> Cid:
    """Return the CID of a file or directory without storing anything.

    Raises UnpublishableTree for links, devices, unusable names and what cannot be read.
    """
    return import_tree(Path(path), _Discard(), layout).to_cid()


def import_path(path: str | Path, store: BlockTarget, layout: Layout = CID_V1) -> Cid:
    """Put every block of a file or directory into the store and return the CID; nothing is pinned.

    Raises UnpublishableTree as cid_of does, and StoreUnavailable or StoreFull from the store.
    """
    with store.writer() as sink:
        return import_tree(Path(path), sink, layout).to_cid()


def import_tree(path: Path, sink: BlockSink, layout: Layout = CID_V1) -> BlockId:
    """Feed every block of a file or directory to the sink, children before parents; return the root."""
    importer = _Importer(sink, layout)
    try:
        return importer.entry(path.name, str(path), None, 0).block_id
    except OSError as error:
        if error.errno in _OURS_TO_WAIT_FOR:
            raise StoreUnavailable(f"cannot read {path} now: {error}") from error
        raise UnpublishableTree(f"cannot read {path}: {error}") from error


class _Discard:
    def put(self, digest: bytes, block: bytes | memoryview) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Built:
    block_id: BlockId
    tsize_bytes: int
    size_bytes: int


class _Importer:
    def __init__(self, sink: BlockSink, layout: Layout) -> None:
        self._sink = sink
        self._layout = layout
        self._buffer = memoryview(bytearray(layout.chunk_bytes))

    def entry(self, name: str, shown: str, parent: int | None, depth: int) -> _Built:
        target = shown if parent is None else name
        # Opening a device can already do something, so its kind is checked before and, against a swap, after.
        _kind(os.stat(target, dir_fd=parent, follow_symlinks=False).st_mode, shown)
        descriptor = os.open(target, _OPEN_FLAGS, dir_fd=parent)
        try:
            if _kind(os.fstat(descriptor).st_mode, shown) is Kind.FILE:
                return self._file(descriptor)
            return self._directory(descriptor, shown, depth)
        finally:
            os.close(descriptor)

    def _directory(self, descriptor: int, shown: str, depth: int) -> _Built:
        if depth >= MAX_DEPTH:
            raise UnpublishableTree(f"{shown} is more than {MAX_DEPTH} directories deep")
        with os.scandir(descriptor) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
        for name in names:
            if problem := name_problem(name):
                raise UnpublishableTree(f"{shown}: {problem}")
        names.sort(key=os.fsencode)
        links: list[Link] = []
        estimated_bytes = 0
        for name in names:
            built = self.entry(name, f"{shown}/{name}", descriptor, depth + 1)
            links.append(Link(built.block_id, name, built.tsize_bytes))
            estimated_bytes += len(os.fsencode(name)) + len(built.block_id.to_bytes())
            if estimated_bytes > SHARDING_BYTES:
                raise UnpublishableTree(
                    f"{shown} has too many entries for one block: spread them over folders"
                )
        return self._node(links, UnixFsData(Kind.DIRECTORY), 0)

    def _file(self, descriptor: int) -> _Built:
        # levels[0] holds leaves, levels[n] nodes of height n; none is ever longer than one node's links.
        levels: list[list[_Built]] = [[]]
        while length := _read_full(descriptor, self._buffer):
            self._append(levels, 0, self._leaf(self._buffer[:length]))
            if length < len(self._buffer):
                break
        if not any(levels):
            return self._leaf(self._buffer[:0])
        height = 0
        while height < len(levels) - 1 or len(levels[height]) > 1:
            if levels[height]:
                self._append(levels, height + 1, self._parent(levels[height]))
                levels[height] = []
            height += 1
        return levels[height][0]

    def _append(self, levels: list[list[_Built]], height: int, built: _Built) -> None:
        if height == len(levels):
            levels.append([])
        levels[height].append(built)
        if len(levels[height]) == self._layout.links_per_node:
            parent = self._parent(levels[height])
            levels[height] = []
            self._append(levels, height + 1, parent)

    def _leaf(self, chunk: memoryview) -> _Built:
        if not self._layout.raw_leaves:
            return self._node([], UnixFsData(Kind.FILE, bytes(chunk), len(chunk)), len(chunk))
        digest = hashlib.sha256(chunk).digest()
        self._sink.put(digest, chunk)
        return _Built(BlockId(RAW, digest), len(chunk), len(chunk))

    def _parent(self, children: list[_Built]) -> _Built:
        sizes = tuple(child.size_bytes for child in children)
        links = [Link(child.block_id, "", child.tsize_bytes) for child in children]
        return self._node(links, UnixFsData(Kind.FILE, b"", sum(sizes), sizes), sum(sizes))

    def _node(self, links: list[Link], message: UnixFsData, size_bytes: int) -> _Built:
        block = encode_node(links, encode_unixfs(message))
        digest = hashlib.sha256(block).digest()
        self._sink.put(digest, block)
        tsize_bytes = len(block) + sum(link.tsize_bytes for link in links)
        return _Built(BlockId(DAG_PB, digest, self._layout.cid_version), tsize_bytes, size_bytes)


def _kind(mode: int, shown: str) -> Kind:
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISDIR(mode):
        return Kind.DIRECTORY
    raise UnpublishableTree(
        f"{shown} is of type {stat.filemode(mode)[0]!r}: only plain files and directories are published"
    )


def _read_full(descriptor: int, buffer: memoryview) -> int:
    """Fill the buffer unless the file ends first; one read may return less than was asked for."""
    length = 0
    while length < len(buffer) and (count := os.readv(descriptor, [buffer[length:]])):
        length += count
    return length
