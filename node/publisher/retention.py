"""Which stored blocks are kept: one pin per job, and the removal of everything no pin reaches.

A pin is a small file named by the job that holds the root's CID. When a job is let go is not decided here.
"""

import os
import re
from dataclasses import dataclass

from node.publisher.blockstore import BlockStore, Writer, storage_errors, sync_folder
from node.publisher.cid import RAW, BlockId, parse_cid
from node.publisher.dag import children, load
from node.publisher.errors import InvalidCid, StoreUnavailable
from node.types import JobId

_PIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed and what it left."""

    blocks: int
    freed_bytes: int
    kept_blocks: int


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
            text = path.read_bytes()[:256].decode("ascii", errors="replace").strip()
            try:
                found[JobId(path.name)] = parse_cid(text)
            except InvalidCid as error:
                raise StoreUnavailable(
                    f"the pin {path} is damaged: publish its job again or remove it"
                ) from error
    return found


def collect_garbage(store: BlockStore) -> Collected:
    """Remove every block that no pin reaches.

    Raises BlockMissing or CorruptBlock, and removes nothing, if a pinned DAG cannot be followed to its end.
    """
    with store.exclusive():
        # One digest can be linked as a raw block and as a node; only the latter leads on to further blocks.
        followed: set[BlockId] = set()
        pending = list(pins(store).values())
        while pending:
            block_id = pending.pop()
            if block_id in followed:
                continue
            followed.add(block_id)
            if block_id.codec != RAW:
                pending.extend(children(load(store, block_id)))
        kept = {block_id.digest for block_id in followed}
        removed = [store.discard(digest) for digest, _ in store.stored() if digest not in kept]
        return Collected(len(removed), sum(removed), len(kept))


def _pin_name(job_id: JobId) -> str:
    if not _PIN_NAME.fullmatch(job_id):
        raise ValueError(
            f"{job_id!r} cannot name a pin: allowed are letters, digits, '_', '-' and inner dots"
        )
    return job_id
