"""The node's own record of its log: JSON lines in ``<data dir>/log``, bounded in size, and how they are read.

What runs the node may keep its standard error or not; this record is always there, for ``sdv-node logs`` and
for the lines of one job on the dashboard. A line that cannot be written is lost and nothing else: a full disk
must not stop a node that holds deals.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BufferedReader, TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

import structlog

from node.observe.logging import json_formatter

FOLDER: Final = "log"
FILE: Final = "node.jsonl"
FILE_BYTES: Final = 8 << 20
OLDER_FILES: Final = 4
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_FILE_MODE: Final = 0o640
_CHUNK_BYTES: Final = 64 << 10
_MAX_LINE_BYTES: Final = 1 << 20

LogRecord = dict[str, Any]
"""One line: ``timestamp`` (UTC, ISO 8601), ``level``, ``event``, and what the room told; often ``job_id``."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are asked for.

    ``since`` in seconds since the Unix epoch; ``level`` is the least one. Raises ValueError for a level that
    is not one of ``LEVELS``.
    """

    job_id: str | None = None
    since: float | None = None
    level: str = "debug"

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level {self.level!r} is unknown: allowed are {', '.join(LEVELS)}")

    def concerns(self, record: LogRecord) -> bool:
        """Whether a record is asked for, leaving its time aside."""
        level = record.get("level")
        if level in LEVELS and LEVELS.index(level) < LEVELS.index(self.level):
            return False
        jobs = record.get("jobs")
        return (
            self.job_id is None
            or record.get("job_id") == self.job_id
            or (isinstance(jobs, list) and self.job_id in jobs)
        )

    def is_over(self, record: LogRecord) -> bool:
        """Whether a record is older than what is asked for."""
        if self.since is None:
            return False
        try:
            return datetime.fromisoformat(str(record.get("timestamp"))).timestamp() < self.since
        except ValueError:
            return False


@contextmanager
def recorded(data_dir: Path) -> Iterator[None]:
    """Record every line that is logged meanwhile, or say once why that cannot be."""
    folder = data_dir / FOLDER
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as problem:
        structlog.get_logger().warning("log_not_recorded", problem=str(problem))
        yield
        return
    handler = _RecordFile(
        folder / FILE, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8", delay=True
    )
    handler.setFormatter(json_formatter())
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def last_records(data_dir: Path, wanted: Wanted, limit: int) -> list[LogRecord]:
    """Return the newest ``limit`` records that are asked for, oldest first; none where nothing was recorded.

    Reads at most the files there are (40 MiB), newest first, and no further than it has to; call it off the
    event loop. Raises OSError for files that may not be read.
    """
    found: list[LogRecord] = []
    told = None if wanted.job_id is None else json.dumps(wanted.job_id).encode()
    for line in _newest_first(data_dir / FOLDER):
        if len(found) >= limit:
            break
        # Parsing is what costs: a line that does not even name the job is passed over without.
        record = parse_record(line) if told is None or told in line else None
        if record is None:
            continue
        if wanted.is_over(record):
            break
        if wanted.concerns(record):
            found.append(record)
    return found[::-1]


class Following:
    """The records that are added from now on, across the change from one file to the next."""

    def __init__(self, data_dir: Path, wanted: Wanted) -> None:
        self._path: Final = data_dir / FOLDER / FILE
        self._wanted: Final = wanted
        self._file: BufferedReader | None = None
        self._begun = b""
        self._open(at_end=True)

    def news(self) -> list[LogRecord]:
        """Return what was added since the last call, oldest first."""
        found: list[LogRecord] = []
        while True:
            found += self._read()
            if not self._is_replaced():
                return found
            found += self._read()
            self.close()
            self._open(at_end=False)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        self._file, self._begun = None, b""

    def _open(self, *, at_end: bool) -> None:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            return
        if at_end:
            self._file.seek(0, os.SEEK_END)

    def _is_replaced(self) -> bool:
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False
        return self._file is None or os.fstat(self._file.fileno()).st_ino != now.st_ino

    def _read(self) -> list[LogRecord]:
        if self._file is None:
            return []
        *lines, self._begun = (self._begun + self._file.read()).split(b"\n")
        records = (parse_record(line) for line in lines)
        return [record for record in records if record is not None and self._wanted.concerns(record)]


def parse_record(line: bytes | str) -> LogRecord | None:
    """Return what a line says; None for one that a crash cut off, or that is none of ours."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


class _RecordFile(RotatingFileHandler):
    """Loses a line where the standard library would print a traceback, and tries again with the next."""

    def _open(self) -> TextIOWrapper:
        # Log lines name requesters and what they ask for: no business of other users of the machine.
        # An opener is needed, and the handler closes the file.
        return open(self.baseFilename, "a", encoding=self.encoding, opener=partial(os.open, mode=_FILE_MODE))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the standard library's name)
        """Let the file go, so that the next line opens it anew."""
        del record
        stream, self.stream = self.stream, None
        if stream is not None:
            try:
                stream.close()
            except OSError:
                # What could not be written is flushed once more by closing, and is lost then.
                return


def _newest_first(folder: Path) -> Iterator[bytes]:
    seen: set[int] = set()
    for name in (FILE, *(f"{FILE}.{number}" for number in range(1, OLDER_FILES + 1))):
        try:
            file = (folder / name).open("rb")
        except FileNotFoundError:
            continue
        with file:
            inode = os.fstat(file.fileno()).st_ino
            # Files move on by one name while they are read.
            if inode not in seen:
                seen.add(inode)
                yield from _lines_backwards(file)


def _lines_backwards(file: BufferedReader) -> Iterator[bytes]:
    place = file.seek(0, os.SEEK_END)
    rest = b""
    while place > 0:
        size = min(_CHUNK_BYTES, place)
        place -= size
        file.seek(place)
        rest, *lines = (file.read(size) + rest).split(b"\n")
        yield from reversed(lines)
        if len(rest) > _MAX_LINE_BYTES:
            rest = b""
    yield rest
