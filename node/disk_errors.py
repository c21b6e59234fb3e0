"""What a person can do about the operating system's refusal to write to a disk."""

import errno

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_BELONGS = "give it to the user that runs this command, or run it as its owner"
_REMEDIES = {
    **dict.fromkeys(FULL, "free some space"),
    errno.EROFS: "its disk is read-only: see the kernel's log and mount it for writing",
    errno.EACCES: _BELONGS,
    errno.EPERM: _BELONGS,
    errno.EIO: "its disk fails: see the kernel's log and replace it",
    errno.ENOENT: "put it back, or mount its disk",
}


def disk_remedy(error: OSError) -> str:
    """Return what to do, as the end of a sentence that names the file and the error."""
    return _REMEDIES.get(error.errno or 0, "see the kernel's log")
