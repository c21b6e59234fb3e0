"""A worker's socket: made with its final mode, under a name that may be left over from an earlier process."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from node.errors import Misconfigured

_OWN_MODE, _SHARED_MODE = 0o600, 0o660


@contextmanager
def listen_for_a_node(path: Path, *, shared: bool) -> Iterator[socket.socket]:
    """Give a socket that is bound to ``path``; with ``shared`` its group may connect, too.

    Raises Misconfigured if another worker listens there or the name cannot be had.
    """
    with ExitStack() as opened:
        try:
            if shared:
                opened.enter_context(_held(path))
            listener = opened.enter_context(_bound(path, _SHARED_MODE if shared else _OWN_MODE))
        except OSError as error:
            raise Misconfigured(f"a worker cannot listen at {path}: {error.strerror or error}") from error
        opened.callback(path.unlink, missing_ok=True)
        yield listener


def _held(path: Path) -> IO[str]:
    """Keep the name to this process, so that a second worker does not take it from a living one."""
    lock = path.with_name(f".{path.name}.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Misconfigured(f"another worker listens at {path}: give this one its own --socket") from None
    return lock


def _bound(path: Path, mode: int) -> socket.socket:
    if path.exists() and not path.is_socket():
        raise Misconfigured(f"{path} is there and no socket: name another path with --socket")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The file takes its mode from the descriptor, so there is no moment at which others could open it.
        os.fchmod(listener.fileno(), mode)
        listener.bind(str(path))
    except BaseException:
        listener.close()
        raise
    return listener
