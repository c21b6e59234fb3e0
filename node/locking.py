"""One process at a time for what must not be done twice at once."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.errors import Retryable


class Locked(Retryable):
    """Another process is doing it."""


@contextmanager
def locked(path: Path, otherwise: str | None = None) -> Iterator[None]:
    """Hold the lock file ``path``, waiting for whoever has it.

    With ``otherwise`` nothing is waited for: raises Locked with these words if another process has the lock.
    """
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if otherwise is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(otherwise) from None
        yield
