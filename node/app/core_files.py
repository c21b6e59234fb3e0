"""Keeping this process's memory, and with it the key, out of core files and other processes' reach.

Facts: prctl(2) PR_SET_DUMPABLE, getrlimit(2) RLIMIT_CORE. Programs started from here begin anew and are as
open to a debugger as ever, but write no core file either.
"""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def keep_memory_private() -> None:
    """Have the kernel write no core file of this process, and let no other process of the user attach.

    Best before a key is read. Where the kernel has no such switch only the core file is ruled out.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
