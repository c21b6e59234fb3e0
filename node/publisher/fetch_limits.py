"""How much a download may cost: the bounds that a foreign gateway cannot make this node exceed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds of one download. The defaults suit a result of several hundred stills with their videos."""

    total_bytes: int = 4 << 30
    """Both of what is received and of the files written."""
    block_bytes: int = 2 << 20
    blocks: int = 100_000
    entries: int = 20_000
    """Files and directories together."""
    depth: int = 16
    """Directories inside each other."""
    connect_s: float = 15.0
    idle_s: float = 60.0
    """The longest silence."""
    total_s: float = 3600.0
    attempts: int = 3
    retry_wait_s: float = 1.0
    """Before the second attempt; doubled before each further one."""


DEFAULT_LIMITS = FetchLimits()
