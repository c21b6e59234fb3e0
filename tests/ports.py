"""Ports for servers that a test starts in another process, and again after killing it.

A port that the kernel picks comes from those it gives to outgoing connections too: between the look and the
bind, and while a killed server is down, any client on this machine may be given it.
"""

import contextlib
import itertools
import os
import socket

_FIRST, _BEHIND = 10_000, 32_768
"""Below where Linux begins with outgoing connections."""

# Test processes side by side begin at different places.
_START = os.getpid() * 1_009 % (_BEHIND - _FIRST)
_candidates = itertools.islice(itertools.cycle(range(_FIRST, _BEHIND)), _START, None)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port of the loopback interface that nobody has, and that no outgoing connection is given."""
    while True:
        port = next(_candidates)
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
