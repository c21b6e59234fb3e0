"""Publishing a job's result: import, pin, read back, and only then a CID.

What is returned is a CID that this node computed itself, whose every block was read from the store again and
whose files were the same before and after. Giving it to other stores or announcing it is not done here.
"""

import asyncio
from pathlib import Path

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from node.publisher import retention
from node.publisher.blockstore import BlockStore
from node.publisher.cid import BlockId
from node.publisher.dag import Scope, walk
from node.publisher.errors import BlockMissing, TreeChanged
from node.publisher.retention import Collected
from node.publisher.unixfs import cid_of, import_tree
from node.types import Cid, JobId


class Publisher:
    """Publishes results from one block store. All disk work runs in threads."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store
        self._log = structlog.get_logger()

    async def publish(self, job_id: JobId, directory: Path) -> Cid:
        """Store and pin a result, read every block back, and return its CID. Safe to repeat.

        Raises StoreFull, StoreUnavailable or TreeChanged (try again), UnpublishableTree (this job fails), and
        BlockMissing if the store loses blocks that it has just taken.
        """
        return (await asyncio.to_thread(self._publish, job_id, directory)).to_cid()

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

    def _publish(self, job_id: JobId, directory: Path) -> BlockId:
        # An import leaves alone what is stored already; a block that went bad since is found by reading back,
        # removed, and written anew by the second round.
        rounds = Retrying(
            retry=retry_if_exception_type(BlockMissing),
            stop=stop_after_attempt(2),
            before_sleep=self._discard_bad_block,
            reraise=True,
        )
        root = rounds(self._import_and_read_back, job_id, directory)
        again = cid_of(directory)
        if again != root.to_cid():
            raise TreeChanged(f"{directory} changed while it was published: {root} became {again}")
        return root

    def _import_and_read_back(self, job_id: JobId, directory: Path) -> BlockId:
        with self._store.writer() as writer:
            root = import_tree(directory, writer)
            retention.pin(self._store, writer, job_id, root)
        for _ in walk(self._store, root, Scope.ALL):
            pass
        return root

    def _discard_bad_block(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, BlockMissing):
            self._log.warning("ipfs_block_lost", digest=error.key.hex(), problem=str(error))
            with self._store.exclusive():
                self._store.discard(error.key)
