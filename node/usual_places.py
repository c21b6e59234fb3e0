"""Where an operator's files are when no setting says so: known before any setting is read."""

import os
from pathlib import Path

CONFIG_FILES = ("/etc/sdv-node/config.toml", "~/.config/sdv-node/config.toml")


def usual_config_file() -> Path | None:
    """Return the operator's file that is read when none is named, None if there is none."""
    return next((path for path in map(_expanded, CONFIG_FILES) if path.is_file()), None)


def usual_data_dir() -> Path:
    """Return the data directory when ``node.data_dir`` is empty."""
    if os.geteuid() == 0:
        return Path("/var/lib/sdv-node")
    return _expanded(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "sdv-node"


def usual_cache_dir() -> Path:
    """Return where what can be made again at any time is kept for this user."""
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sdv-node"


def _expanded(path: str) -> Path:
    return Path(path).expanduser()
