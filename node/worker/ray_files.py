"""A job's files on their way between two machines: what may travel, under which names, and how it is checked.

What is durable on one side is described by path, size and SHA-256; its bytes follow in chunks; a file has its
name on the other side only when they are all there and are what was described. Knows no network.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.errors import NodeError
from node.pipeline.results import RESULT, WORK, sync_directory

CHUNK_BYTES = 4 * 2**20
MAX_FILES = 2000
MAX_FILE_BYTES = 2 * 2**30
MAX_JOB_BYTES = 8 * 2**30
PARTIAL = f"{RESULT}.partial"
"""Where a result is put together before it appears all at once."""
_NAME = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]{0,99}")
_HASH = re.compile(r"[0-9a-f]{64}")
_MAX_DEPTH = 6


class BadFile(NodeError):
    """What the other side described or sent is not a file of a job."""


class FileChanged(NodeError):
    """A file was written to since it was described: it was not finished, and is asked for again later."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file of a job by its path from the job's directory, its size and the SHA-256 of its bytes."""

    path: str
    size_bytes: int
    sha256: str


def described(entries: object) -> list[FileInfo]:
    """Read what the other side says it has. Raises BadFile for names, sizes or hashes that cannot be."""
    if not isinstance(entries, list) or len(entries) > MAX_FILES:
        raise BadFile(f"a list of at most {MAX_FILES} files was expected")
    files = [_described(entry) for entry in entries]
    if sum(file.size_bytes for file in files) > MAX_JOB_BYTES:
        raise BadFile(f"its files have more than {MAX_JOB_BYTES} bytes together")
    if len({file.path for file in files}) != len(files):
        raise BadFile("a file is named twice")
    return files


def _described(entry: Any) -> FileInfo:
    match entry:
        case (str(path), int(size_bytes), str(sha256)) if _HASH.fullmatch(sha256):
            pass
        case _:
            raise BadFile(f"{entry!r:.100} does not describe a file")
    top, *names = path.split("/")
    if top not in {WORK, RESULT} or not 1 <= len(names) <= _MAX_DEPTH or not all(map(_NAME.fullmatch, names)):
        raise BadFile(f"{path!r:.100} is no name of a job's file: it lies below {WORK}/ or {RESULT}/")
    if not 0 <= size_bytes <= MAX_FILE_BYTES:
        raise BadFile(f"{path} is said to have {size_bytes} bytes; at most {MAX_FILE_BYTES} are allowed")
    return FileInfo(path, size_bytes, sha256)


class Outbox:
    """The durable files of one job's directory, for whoever fetches them. Each is hashed once."""

    def __init__(self, job_dir: Path) -> None:
        self._job_dir = job_dir
        self._hashed: dict[str, tuple[tuple[int, int, int], FileInfo]] = {}

    def files(self) -> list[FileInfo]:
        """Return what is there, in the order in which it was finished.

        A stage's record is written after its files, so whoever takes files in this order never has a record
        without them.
        """
        first = self._seen()
        newest = max((mark[0] for mark in first.values()), default=0)
        # What a record of the first look needs was there before it, so a second look finds all of that.
        second = {path: mark for path, mark in self._seen().items() if path in first or mark[0] <= newest}
        found = []
        for path, mark in sorted(second.items(), key=lambda item: (item[1][0], item[0])):
            info = self._hash(path, mark)
            if info is not None:
                found.append(info)
        return found

    def chunk(self, info: FileInfo, offset: int) -> bytes:
        """Return at most ``CHUNK_BYTES`` of a file. Raises FileChanged."""
        known = self._hashed.get(info.path)
        if known is None or known[1] != info or self._mark(self._job_dir / info.path) != known[0]:
            raise FileChanged(f"{info.path} has changed")
        try:
            with (self._job_dir / info.path).open("rb") as file:
                file.seek(offset)
                return file.read(CHUNK_BYTES)
        except FileNotFoundError as gone:
            raise FileChanged(f"{info.path} is gone") from gone

    def _seen(self) -> dict[str, tuple[int, int, int]]:
        seen = {}
        for top in (WORK, RESULT):
            for folder, _, names in os.walk(self._job_dir / top):
                for name in names:
                    path = Path(folder) / name
                    mark = self._mark(path)
                    # A name with a dot before it is that of a file that is being written.
                    if mark is not None and _NAME.fullmatch(name):
                        seen[path.relative_to(self._job_dir).as_posix()] = mark
        return seen

    def _hash(self, path: str, mark: tuple[int, int, int]) -> FileInfo | None:
        known = self._hashed.get(path)
        if known is not None and known[0] == mark:
            return known[1]
        try:
            with (self._job_dir / path).open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None
        if self._mark(self._job_dir / path) != mark:
            return None
        info = FileInfo(path, mark[1], sha256)
        self._hashed[path] = (mark, info)
        return info

    def _mark(self, path: Path) -> tuple[int, int, int] | None:
        """Return when a file was written, its size and its inode; None if it is no plain file any more."""
        try:
            status = path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        plain = stat.S_ISREG(status.st_mode)
        return (status.st_mtime_ns, status.st_size, status.st_ino) if plain else None


class Inbox:
    """Puts files into one job's directory, each whole and as described or not at all.

    Results wait in ``result.partial`` until ``complete`` lets them appear.
    """

    def __init__(self, job_dir: Path) -> None:
        self._job_dir = job_dir
        self._have: dict[str, FileInfo] = {}

    def lacks(self, info: FileInfo) -> bool:
        """Whether a file is still to be sent. What is here under another name is used for it."""
        if self._have.get(info.path) == info:
            return False
        same = next((have for have in self._have.values() if have.sha256 == info.sha256), None)
        if same is None or not info.path.startswith(f"{RESULT}/"):
            return True
        target = self._place(info.path)
        target.unlink(missing_ok=True)
        try:
            os.link(self._place(same.path), target)
        except FileNotFoundError:
            return True
        self._have[info.path] = info
        return False

    def has(self, files: Iterable[FileInfo]) -> None:
        """Take note of what is here already and needs not be sent."""
        self._have.update((file.path, file) for file in files)

    def write(self, info: FileInfo, chunks: Iterator[bytes]) -> None:
        """Write a file from its chunks, durably. Raises BadFile if they are not what was described."""
        target = self._place(info.path)
        partial = target.with_name(f".{target.name}.partial")
        digest, left = hashlib.sha256(), info.size_bytes
        try:
            with partial.open("wb") as file:
                for chunk in chunks:
                    if not isinstance(chunk, bytes) or len(chunk) > min(left, CHUNK_BYTES):
                        raise BadFile(f"{info.path}: more came than its {info.size_bytes} bytes")
                    left -= len(chunk)
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if left or digest.hexdigest() != info.sha256:
                raise BadFile(f"{info.path}: what came is not what its size and SHA-256 say")
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)
        sync_directory(target.parent)
        self._have[info.path] = info

    def _place(self, path: str) -> Path:
        top, _, rest = path.partition("/")
        target = self._job_dir / (PARTIAL if top == RESULT else top) / rest
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def chunk_offsets(info: FileInfo) -> range:
    """Return where each chunk of a file begins."""
    return range(0, info.size_bytes, CHUNK_BYTES)
