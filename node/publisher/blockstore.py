"""The block store: one file per block, named by its SHA-256 digest, in 256 folders.

A block gets its name only when its bytes are on the disk, so a crash leaves no half block; every read checks
the hash. One writer at a time, across processes. Which blocks are needed is the matter of ``retention``.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from node.disk_errors import FULL, disk_remedy
from node.publisher.cid import BlockId
from node.publisher.errors import BlockMissing, CorruptBlock, StoreFull, StoreUnavailable

DEFAULT_FLOOR_BYTES = 1 << 30
MAX_BLOCK_BYTES = 2 << 20
FOLDERS = ("blocks", "pins", "tmp")
_SYNC_THREADS = 16
_MAX_UNSYNCED = 64


class BlockStore:
    """Blocks in a directory of their own. Its methods block: asyncio calls them in a thread.

    ``floor_bytes`` of free disk space are never used; ``lock_wait_s`` is how long a writer waits for another.
    """

    def __init__(
        self, root: Path, *, floor_bytes: int = DEFAULT_FLOOR_BYTES, lock_wait_s: float = 600.0
    ) -> None:
        self.root = root
        self._floor_bytes = floor_bytes
        self._lock_wait_s = lock_wait_s
        with storage_errors(root):
            for folder in FOLDERS:
                (root / folder).mkdir(parents=True, exist_ok=True)
            for shard in range(256):
                (root / "blocks" / f"{shard:02x}").mkdir(exist_ok=True)
            for folder_path in (root / "blocks", root, root.parent):
                sync_folder(folder_path)
            self._identity = _identity(root)
        self._watchers: list[Callable[[], object]] = []
        self.writes = 0
        """How often blocks were put through this object."""

    def problem(self) -> str | None:
        """Return why this is not the store any more that was opened, and what to do, or None."""
        try:
            if _identity(self.root) == self._identity:
                return None
            found = "is not the one that was opened any more"
        except OSError as error:
            found = f"is gone ({error.strerror})"
        return (
            f"the block store {self.root} {found}: mount its disk again or put the folder back, "
            "and start the node again if that does not help"
        )

    def has(self, block_id: BlockId) -> bool:
        """Return whether the block is stored; its bytes are not checked."""
        return self.size(block_id) is not None

    def size(self, block_id: BlockId) -> int | None:
        """Return the stored block's size in bytes, None if there is none; its bytes are not checked."""
        return self.size_of(block_id.digest)

    def size_of(self, digest: bytes) -> int | None:
        """Return the same by digest."""
        with storage_errors(self.root):
            try:
                return self._file(digest).stat().st_size
            except FileNotFoundError:
                self._must_be_there()
                return None

    def get(self, block_id: BlockId) -> bytes:
        """Return the block's bytes, checked. Raises BlockMissing, CorruptBlock or StoreUnavailable."""
        with storage_errors(self.root):
            try:
                block = self._file(block_id.digest).read_bytes()
            except FileNotFoundError as error:
                self._must_be_there()
                raise BlockMissing(f"block {block_id} is not stored here", block_id.digest) from error
        if hashlib.sha256(block).digest() != block_id.digest:
            raise CorruptBlock(f"block {block_id} is damaged on disk: publish its job again", block_id.digest)
        return block

    @contextmanager
    def writer(self, *, mend: bool = False) -> Iterator["Writer"]:
        """Lock the store for one change. When the context ends without an error, all that was put is durable.

        ``mend``: what is stored already is read and, where it is damaged, written anew. Raises
        StoreUnavailable if another writer keeps the lock for too long.
        """
        with self.exclusive():
            # Before, for what a process that was killed has left; after, to free the disk when it is full.
            self._clear_temporary()
            try:
                with Writer(self.root, self._floor_bytes, mend=mend) as writer:
                    yield writer
            finally:
                self._clear_temporary()
                # After a failure too: what was put before it is here.
                self.writes += 1
                for watcher in tuple(self._watchers):
                    watcher()

    @contextmanager
    def watched(self, watcher: Callable[[], object]) -> Iterator[None]:
        """Have somebody told, in the writer's thread, whenever blocks were put through this object."""
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the writers' lock, which the kernel releases should the process die."""
        self._must_be_there()
        with storage_errors(self.root):
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            attempts = Retrying(
                retry=retry_if_exception_type(BlockingIOError),
                wait=wait_fixed(0.05),
                stop=stop_after_delay(self._lock_wait_s),
                reraise=True,
            )
            try:
                attempts(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreUnavailable(
                    f"another writer has held {self.root} for {self._lock_wait_s:g} s: wait for it or stop it"
                ) from error
            yield
        finally:
            os.close(descriptor)

    def discard(self, digest: bytes) -> int:
        """Remove one block and return the bytes freed. The caller holds ``exclusive``."""
        path = self._file(digest)
        with storage_errors(self.root):
            try:
                freed_bytes = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                return 0
        return freed_bytes

    def stored(self) -> Iterator[tuple[bytes, int]]:
        """Yield (SHA-256 digest, size in bytes) of every stored block, in no order."""
        with storage_errors(self.root):
            for shard in range(256):
                with os.scandir(self.root / "blocks" / f"{shard:02x}") as entries:
                    for entry in entries:
                        with suppress(FileNotFoundError, ValueError):
                            yield bytes.fromhex(entry.name), entry.stat().st_size

    def stored_bytes(self) -> int:
        """Return the sum of all blocks' sizes in bytes; looks at every file."""
        return sum(size_bytes for _, size_bytes in self.stored())

    def free_bytes(self) -> int:
        """Return how many more bytes the store would take before it reaches its floor."""
        with storage_errors(self.root):
            return max(0, _available_bytes(self.root) - self._floor_bytes)

    def _must_be_there(self) -> None:
        # A disk that is unmounted leaves an empty folder: what is not found in it is not lost.
        if (problem := self.problem()) is not None:
            raise StoreUnavailable(problem)

    def _file(self, digest: bytes) -> Path:
        return block_file(self.root, digest)

    def _clear_temporary(self) -> None:
        with storage_errors(self.root):
            for leftover in (self.root / "tmp").iterdir():
                leftover.unlink()


class Writer:
    """Puts blocks into a store whose lock is held.

    The bytes are written at once; a few threads then force them to the disk and name them while the caller
    hashes on.
    """

    def __init__(self, root: Path, floor_bytes: int, *, mend: bool = False) -> None:
        self._root = root
        self._floor_bytes = floor_bytes
        self._mend = mend
        self._pool = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="block-sync")
        self._unsynced: list[Future[None]] = []
        self._shards: set[Path] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self._pool.shutdown(wait=True)

    def put(self, digest: bytes, block: bytes | memoryview) -> None:
        """Keep a block under its SHA-256 digest; one that is there already is not written again.

        Raises StoreFull below the floor of free space, StoreUnavailable for other trouble with the disk.
        """
        target = block_file(self._root, digest)
        # The folder is synced even for a block that is there: the run that made it may have died before that.
        self._shards.add(target.parent)
        with storage_errors(self._root):
            if self._is_there(target, block):
                return
            available_bytes = _available_bytes(self._root)
            if available_bytes - len(block) < self._floor_bytes:
                raise StoreFull(
                    f"{self._root} has {available_bytes} bytes free and must keep {self._floor_bytes}: "
                    "free some space or lower the floor"
                )
            temporary = self._root / "tmp" / digest.hex()
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            except FileExistsError:
                return  # the same block came earlier in this tree and is on its way to the disk
            try:
                _write_full(descriptor, block)
            except OSError:
                os.close(descriptor)
                raise
        self._unsynced.append(self._pool.submit(_settle, descriptor, temporary, target))
        if len(self._unsynced) >= _MAX_UNSYNCED:
            self._wait(_MAX_UNSYNCED // 2)

    def flush(self) -> None:
        """Return when every block that was put would survive a power cut."""
        self._wait(0)
        with storage_errors(self._root):
            for done in [self._pool.submit(sync_folder, shard) for shard in self._shards]:
                done.result()
        self._shards.clear()

    def _is_there(self, target: Path, block: bytes | memoryview) -> bool:
        try:
            same_size = target.stat().st_size == len(block)
        except FileNotFoundError:
            return False
        if not self._mend or not same_size:
            return same_size
        try:
            return target.read_bytes() == block
        except OSError:
            # A file that cannot be read is given way to one that can.
            return False

    def _wait(self, leave: int) -> None:
        with storage_errors(self._root):
            while len(self._unsynced) > leave:
                self._unsynced.pop(0).result()


def block_file(root: Path, digest: bytes) -> Path:
    """Return where a store keeps the block with this digest."""
    name = digest.hex()
    return root / "blocks" / name[:2] / name


def _identity(root: Path) -> list[tuple[int, int]]:
    # Asked whenever a block is not found, so without building paths anew: peers ask for many that are not.
    folder = str(root)
    found = [os.stat(folder), *(os.stat(f"{folder}/{name}") for name in FOLDERS)]  # noqa: PTH116
    return [(status.st_dev, status.st_ino) for status in found]


@contextmanager
def storage_errors(root: Path) -> Iterator[None]:
    """Translate the operating system's errors about the store's files."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StoreFull(f"the disk of {root} is full: free some space") from error
        raise StoreUnavailable(
            f"the block store {root} cannot be used ({error}): {disk_remedy(error)}"
        ) from error


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _settle(descriptor: int, temporary: Path, target: Path) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(target)


def _write_full(descriptor: int, block: bytes | memoryview) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


def _available_bytes(root: Path) -> int:
    usage = os.statvfs(root)
    return usage.f_bavail * usage.f_frsize
