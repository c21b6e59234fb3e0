"""What the CPU calls itself. Imports nothing heavy."""

import platform
from pathlib import Path


def vendor() -> str:
    """Return the processor's vendor, "unknown" if the system does not tell."""
    return _told("vendor_id") or "unknown"


def model() -> str:
    """Return the processor's model, "unknown" if the system does not tell."""
    return _told("model name") or platform.processor() or "unknown"


def _told(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = [line.partition(":")[2].strip() for line in lines if line.startswith(key)]
    return found[0] if found else ""
