"""Which lines of the log may be written again: anybody can ask for a damaged block as often as they like."""

import threading
import time
from collections.abc import Callable

EVERY_S = 60.0
MAX_KEYS = 1024
"""Of how many things something is said within ``EVERY_S``; of more, nothing."""


class Seldom:
    """Lets each key through once in ``EVERY_S`` seconds. Used from any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._said_at: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def due(self, key: bytes) -> bool:
        """Return whether something is to be said of this key now; then it counts as said."""
        with self._lock:
            now = self._monotonic()
            if len(self._said_at) >= MAX_KEYS:
                self._said_at = {one: at for one, at in self._said_at.items() if now - at < EVERY_S}
            said_at = self._said_at.get(key)
            if said_at is None and len(self._said_at) >= MAX_KEYS:
                return False
            if said_at is not None and now - said_at < EVERY_S:
                return False
            self._said_at[key] = now
            return True
