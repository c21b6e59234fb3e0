"""Which stored blocks are kept: one pin per job, and the removal of everything no pin reaches.

A pin is a small file named by the job that holds the root's CID. When a job is let go is decided in
``keeping``.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from node.publisher.blockstore import BlockStore, Writer, storage_errors, sync_folder
from node.publisher.cid import RAW, BlockId, parse_cid
from node.publisher.dag import children, load
from node.publisher.errors import BlockMissing, InvalidCid, StoreUnavailable
from node.types import JobId

_PIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed and what it left."""

    blocks: int
    freed_bytes: int
    kept_blocks: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What is stored: sizes in bytes by digest, and of each pin the root and the blocks it reaches.

    ``damaged``: pins that lack blocks, and why; leaves are asked for and not read. ``broken_off``: those of
    them whose DAG cannot be followed to its end, of whose blocks only the root is told.
    """

    roots: dict[JobId, BlockId]
    dags: dict[JobId, dict[bytes, int]]
    stored: dict[bytes, int]
    damaged: dict[JobId, str]
    broken_off: frozenset[JobId]

    def can_be_collected(self) -> bool:
        """Whether it is known of every block if a pin reaches it; what was mended is damaged no more."""
        return not self.broken_off & self.damaged.keys()


def pin(store: BlockStore, writer: Writer, job_id: JobId, root: BlockId) -> None:
    """Keep a DAG for a job, in place of what that job pinned before.

    Takes the writer that put the blocks, because between import and pin nobody may collect them.
    """
    name = _pin_name(job_id)
    writer.flush()
    folder = store.root / "pins"
    temporary = store.root / "tmp" / f"pin-{name}"
    with storage_errors(store.root):
        with temporary.open("w", encoding="ascii") as file:
            file.write(f"{root}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / name)
        sync_folder(folder)


def unpin(store: BlockStore, job_id: JobId) -> bool:
    """Let go of a job's DAG; return whether it was pinned. The blocks stay until the next collection."""
    path = store.root / "pins" / _pin_name(job_id)
    with store.exclusive(), storage_errors(store.root):
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        sync_folder(path.parent)
        return True


def pins(store: BlockStore) -> dict[JobId, BlockId]:
    """Return every job's root. Raises StoreUnavailable if a pin is damaged: then nothing may be removed."""
    found: dict[JobId, BlockId] = {}
    with storage_errors(store.root):
        for path in sorted((store.root / "pins").iterdir()):
            found[JobId(path.name)] = _read_pin(path)
    return found


def collect_garbage(store: BlockStore) -> Collected:
    """Remove every block that no pin reaches.

    Raises BlockMissing or CorruptBlock, and removes nothing, if a pinned DAG cannot be followed to its end.
    """
    with store.exclusive():
        kept = _followed(store, pins(store).values())
        removed = [store.discard(digest) for digest, _ in store.stored() if digest not in kept]
        return Collected(len(removed), sum(removed), len(kept))


def survey(store: BlockStore) -> Survey:
    """Look at every pin and every block. Nothing is locked: what others do meanwhile may be seen or not."""
    stored = dict(store.stored())
    dags: dict[JobId, dict[bytes, int]] = {}
    damaged: dict[JobId, str] = {}
    broken_off: set[JobId] = set()
    roots = pins(store)
    for job_id, root in roots.items():
        try:
            reached = _followed(store, [root])
        except BlockMissing as error:
            damaged[job_id] = str(error)
            broken_off.add(job_id)
            reached = {root.digest}
        else:
            # What was not there when the store was listed may have been published since.
            lacking = [digest for digest in reached - stored.keys() if store.size_of(digest) is None]
            if lacking:
                damaged[job_id] = f"{len(lacking)} of {len(reached)} blocks are not stored here"
        dags[job_id] = {digest: stored.get(digest, 0) for digest in reached}
    return Survey(roots, dags, stored, damaged, frozenset(broken_off))


def pinned_bytes(store: BlockStore, job_id: JobId) -> int:
    """Return the bytes of all blocks that a job's pin reaches, 0 without a pin. Raises BlockMissing."""
    path = store.root / "pins" / _pin_name(job_id)
    with storage_errors(store.root):
        if not path.exists():
            return 0
        root = _read_pin(path)
    return sum(store.size_of(digest) or 0 for digest in _followed(store, [root]))


def _read_pin(path: Path) -> BlockId:
    text = path.read_bytes()[:256].decode("ascii", errors="replace").strip()
    try:
        return parse_cid(text)
    except InvalidCid as error:
        raise StoreUnavailable(f"the pin {path} is damaged: publish its job again or remove it") from error


def _followed(store: BlockStore, roots: Iterable[BlockId]) -> set[bytes]:
    """Return the digests of all blocks below these roots; leaves are not read. Raises BlockMissing."""
    # One digest can be linked as a raw block and as a node; only the latter leads on to further blocks.
    followed: set[BlockId] = set()
    pending = list(roots)
    while pending:
        block_id = pending.pop()
        if block_id in followed:
            continue
        followed.add(block_id)
        if block_id.codec != RAW:
            pending.extend(children(load(store, block_id)))
    return {block_id.digest for block_id in followed}


def _pin_name(job_id: JobId) -> str:
    if not _PIN_NAME.fullmatch(job_id):
        raise ValueError(
            f"{job_id!r} cannot name a pin: allowed are letters, digits, '_', '-' and inner dots"
        )
    return job_id
