"""Whose a process is that the driver names: read from /proc, which hides what does not concern this user."""

import os
from collections.abc import Callable
from pathlib import Path

PROC = Path("/proc")
_MAX_ANCESTORS = 64
_MAX_NAME = 32


def process_name(pid: int, proc: Path = PROC) -> str | None:
    """Return the short name of a process in plain ASCII, None if it is gone or not visible from here."""
    try:
        name = (proc / str(pid) / "comm").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # Anybody may name a process; what is told to people and programs is printable.
    plain = "".join(sign if sign.isascii() and sign.isprintable() else "?" for sign in name.strip())
    return plain[:_MAX_NAME] or None


def descends_from(pid: int, ancestor: int, proc: Path = PROC) -> bool:
    """Whether a process is the ancestor or was started by it, directly or not."""
    for _ in range(_MAX_ANCESTORS):
        if pid == ancestor:
            return True
        parent = _parent(pid, proc)
        if parent is None or parent <= 1:
            return False
        pid = parent
    return False


def runs_as(pid: int, uid: int, proc: Path = PROC) -> bool:
    """Whether a process belongs to a user, as far as that is visible."""
    try:
        return (proc / str(pid)).stat().st_uid == uid
    except OSError:
        return False


def started_here() -> Callable[[int], bool]:
    """Return what tells the processes of this node from others, workers that are still loading included."""
    own = os.getpid()
    return lambda pid: descends_from(pid, own)


def _parent(pid: int, proc: Path) -> int | None:
    try:
        status = (proc / str(pid) / "stat").read_bytes()
        # The name stands in brackets and may hold anything, brackets and spaces included.
        return int(status.rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
