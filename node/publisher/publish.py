"""Publishing a job's result: import, pin, read back, and only then a CID.

What is returned is a CID that this node computed itself, whose every block was read from the store again and
whose files were the same before and after. Giving it to other stores or announcing it is not done here.
"""

import asyncio
from pathlib import Path

import structlog

from node.publisher import retention
from node.publisher.blockstore import BlockStore
from node.publisher.cid import RAW, BlockId, hash_block, parse_cid
from node.publisher.dag import Scope, walk
from node.publisher.errors import BlockMissing, InvalidCid, StoreUnavailable, TreeChanged
from node.publisher.retention import Collected
from node.publisher.unixfs import cid_of, import_tree
from node.types import Cid, JobId

BEFORE = ".before"


class Publisher:
    """Publishes results from one block store. All disk work runs in threads."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store
        self._log = structlog.get_logger()

    async def publish(self, job_id: JobId, directory: Path) -> Cid:
        """Store and pin a result, read every block back, and return its CID. Safe to repeat.

        Raises StoreFull, StoreUnavailable, also if blocks are lost that were just taken, or TreeChanged (try
        again), and UnpublishableTree (this job fails).
        """
        try:
            return (await asyncio.to_thread(self._publish, job_id, directory)).to_cid()
        except BlockMissing as error:
            raise StoreUnavailable(
                f"the store loses what it has just taken: check the disk under {self._store.root} ({error})"
            ) from error

    async def unpin(self, job_id: JobId) -> bool:
        """Let go of a job's result; return whether it was kept."""
        return await asyncio.to_thread(retention.unpin, self._store, job_id)

    async def collect_garbage(self) -> Collected:
        """Remove every block that no job keeps."""
        return await asyncio.to_thread(retention.collect_garbage, self._store)

    async def pins(self) -> dict[JobId, Cid]:
        """Return the CID that is kept for each job."""
        found = await asyncio.to_thread(retention.pins, self._store)
        return {job_id: root.to_cid() for job_id, root in found.items()}

    async def stored_bytes(self) -> int:
        """Return the bytes of all stored blocks; looks at every file, so ask seldom."""
        return await asyncio.to_thread(self._store.stored_bytes)

    async def free_bytes(self) -> int:
        """Return how many more bytes the store would take."""
        return await asyncio.to_thread(self._store.free_bytes)

    async def publish_file(self, name: JobId, data: bytes) -> Cid:
        """Store and pin a small file as one raw block under ``name``.

        What the name kept before is kept until the next one comes: others may have been told of it a moment
        ago. Raises StoreFull or StoreUnavailable (try again).
        """

        def work() -> Cid:
            root = hash_block(RAW, data)
            with self._store.writer() as writer:
                before = retention.pins(self._store).get(name)
                writer.put(root.digest, data)
                if before is not None and before != root:
                    retention.pin(self._store, writer, JobId(f"{name}{BEFORE}"), before)
                retention.pin(self._store, writer, name, root)
            return root.to_cid()

        return await asyncio.to_thread(work)

    async def read_file(self, cid: Cid) -> bytes | None:
        """Return a small file that ``publish_file`` stored, or None if it is not here any more."""

        def work() -> bytes | None:
            try:
                return self._store.get(parse_cid(cid))
            except (BlockMissing, InvalidCid):
                return None

        return await asyncio.to_thread(work)

    def _publish(self, job_id: JobId, directory: Path) -> BlockId:
        try:
            root = self._import_and_read_back(job_id, directory)
        except BlockMissing as error:
            # An import leaves alone what is stored already, so a block that went bad since is found only by
            # reading back; where there is one there may be more, and each of them is written anew.
            self._log.warning("ipfs_block_lost", digest=error.key.hex(), problem=str(error))
            root = self._import_and_read_back(job_id, directory, mend=True)
        again = cid_of(directory)
        if again != root.to_cid():
            raise TreeChanged(f"{directory} changed while it was published: {root} became {again}")
        return root

    def _import_and_read_back(self, job_id: JobId, directory: Path, *, mend: bool = False) -> BlockId:
        with self._store.writer(mend=mend) as writer:
            root = import_tree(directory, writer)
            retention.pin(self._store, writer, job_id, root)
        for _ in walk(self._store, root, Scope.ALL):
            pass
        return root
