"""Whose data directory it is: what another user, even root, writes there the node could not use."""

import os
import pwd
from pathlib import Path

from node.app.checks import Check


def stranger_here(directory: Path) -> str | None:
    """Return the user that the data directory belongs to, if that is not the one who asks; else None."""
    try:
        owner = directory.stat().st_uid
    except OSError:
        return None
    if owner == os.geteuid():
        return None
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return str(owner)


def check_owner(directory: Path) -> list[Check]:
    """Does the one who asks own the data directory? Nothing is said if so."""
    owner = stranger_here(directory)
    if owner is None:
        return []
    finding = f"{directory} belongs to {owner}: hashing, rendering and all that writes there is left out"
    return [Check("user", "warning", finding, f"sudo -u {owner} sdv-node doctor")]
