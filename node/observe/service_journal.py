"""The node's lines in systemd's journal, through ``journalctl``.

For who may read the journal but not the node's data directory. What the journal has from others about the
service, systemd's own lines among them, comes as records too.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Final

from node.errors import Misconfigured, Unreachable
from node.observe.log_records import LogRecord, Wanted, parse_record

_LEVELS: Final = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
"""By the priority of syslog(3)."""


def journal_records(unit: str, wanted: Wanted, limit: int) -> list[LogRecord]:
    """Return the newest ``limit`` records of a unit, oldest first.

    Raises Misconfigured without journalctl, Unreachable if it fails.
    """
    found: list[LogRecord] = []
    since = () if wanted.since is None else (f"--since=@{wanted.since:.0f}",)
    with _journalctl(unit, "--reverse", *since) as lines:
        for record in _records(lines):
            if wanted.concerns(record):
                found.append(record)
            if len(found) >= limit:
                break
    return found[::-1]


def follow_journal(unit: str, wanted: Wanted) -> Iterator[LogRecord]:
    """Yield the records that come from now on, until it is closed."""
    with _journalctl(unit, "--follow", "--lines=0") as lines:
        yield from (record for record in _records(lines) if wanted.concerns(record))


def journal_record(line: bytes) -> LogRecord | None:
    """Return what one line of ``journalctl --output json`` holds, None for none."""
    entry = parse_record(line)
    if entry is None:
        return None
    message = entry.get("MESSAGE")
    if isinstance(message, list):
        # What is not UTF-8 comes as a list of bytes.
        try:
            message = bytes(message).decode("utf-8", "replace")
        except (TypeError, ValueError):
            return None
    if not isinstance(message, str):
        return None
    own = parse_record(message)
    if own is not None and "event" in own:
        return own
    try:
        at = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, tz=UTC)
        level = _LEVELS[int(entry.get("PRIORITY", "6"))]
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return None
    return {
        "timestamp": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": level,
        "event": message,
        "logger": str(entry.get("SYSLOG_IDENTIFIER") or "journal"),
    }


def _records(lines: IO[bytes]) -> Iterator[LogRecord]:
    return (record for line in lines if (record := journal_record(line)) is not None)


@contextmanager
def _journalctl(unit: str, *options: str) -> Iterator[IO[bytes]]:
    command = shutil.which("journalctl")
    if command is None:
        raise Misconfigured("there is no journalctl here: give --from record to read the node's own record")
    with subprocess.Popen(
        [command, f"--unit={unit}", "--output=json", "--no-pager", "--quiet", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        if process.stdout is None or process.stderr is None:
            raise Unreachable("journalctl has no output")
        try:
            yield process.stdout
            ended = process.wait() if not process.stdout.read(1) else 0
        finally:
            process.terminate()
        if ended:
            said = process.stderr.read(2000).decode("utf-8", "replace").strip()
            raise Unreachable(f"journalctl ended with exit code {ended}: {json.dumps(said)}")
