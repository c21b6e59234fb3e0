"""How long a worker may be silent before its service manager should no longer believe that it works.

A loop that turns says nothing about a device that hangs. What counts is a step done; with nothing to do, any
silence is fine.
"""

from node.clock import Clock


class Silence:
    """Since when the loading, or the job at hand, has not moved on. Begins with the loading.

    ``load_s`` bounds the loading, ``progress_s`` the time between two steps of a job, in seconds.
    """

    def __init__(self, clock: Clock, *, load_s: float, progress_s: float) -> None:
        self._clock = clock
        self._progress_s = progress_s
        self._until: float | None = clock.monotonic() + load_s

    def step(self) -> None:
        """Note that work began or moved on: the next step is expected."""
        self._until = self._clock.monotonic() + self._progress_s

    def rest(self) -> None:
        """Note that there is nothing to do."""
        self._until = None

    def is_fine(self) -> bool:
        """Whether nothing is overdue."""
        return self._until is None or self._clock.monotonic() <= self._until
