"""One process at a time for what must not be done twice at once. Imports no torch."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.errors import Retryable


class AlreadyPulling(Retryable):
    """Another process pulls the same profile."""


@contextmanager
def locked(path: Path, otherwise: str) -> Iterator[None]:
    """Hold the lock of ``path``. Raises AlreadyPulling, saying ``otherwise``, if another process has it."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyPulling(otherwise) from None
        yield
