"""When the operator lends the GPUs: windows of local time, right across midnight and changes of the clock.

Only the wall clock counts. A window over an hour that the clock skips is shorter that day, one over an hour
that comes twice is longer.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from node.gpu_settings import MINUTES_A_DAY, Window

_LOOK_AHEAD_DAYS = 8
_STEP_MIN = 15
"""Clocks are changed at quarters of an hour."""


def system_local(at: float) -> datetime:
    """Return the machine's local time at a moment in seconds since the epoch."""
    return datetime.fromtimestamp(at, UTC).astimezone()


class Hours:
    """The windows; none at all means always. ``local`` gives the local time of a moment."""

    def __init__(
        self, windows: Sequence[Window] = (), local: Callable[[float], datetime] = system_local
    ) -> None:
        self._windows = tuple(windows)
        self._local = local
        self._bounds = sorted({bound for each in windows for bound in (each.begin, each.end)})
        self._known: tuple[float, float, float | None] | None = None

    def open_at(self, at: float) -> bool:
        """Whether the GPUs are lent at a moment, in seconds since the epoch."""
        return self._open(self._local(at))

    def changes_at(self, at: float) -> float | None:
        """Return when the next window opens, or the present one ends; None: not within eight days."""
        known = self._known
        if known is None or not known[0] <= at < known[1]:
            change = self._next_change(at)
            self._known = known = (at, change or at + _STEP_MIN * 60, change)
        return known[2]

    def open_for(self, at: float, seconds: float) -> bool:
        """Whether the GPUs are lent from a moment on for as long as this."""
        change = self.changes_at(at)
        return self.open_at(at) and (change is None or change - at >= seconds)

    def clock_at(self, at: float) -> str:
        """Return day and time as people read them."""
        return self._local(at).strftime("%a %H:%M")

    def _open(self, moment: datetime) -> bool:
        if not self._windows:
            return True
        minute = moment.hour * 60 + moment.minute
        return any(window.covers(moment.weekday(), minute) for window in self._windows)

    def _next_change(self, at: float) -> float | None:
        moment = self._local(at)
        state = self._open(moment)
        end = at + _LOOK_AHEAD_DAYS * 86_400
        if not self._windows:
            return None
        while at < end:
            minute = moment.hour * 60 + moment.minute
            quarter = (minute // _STEP_MIN + 1) * _STEP_MIN
            until = min([quarter, *(bound for bound in self._bounds if minute < bound < MINUTES_A_DAY)])
            at += (until - minute) * 60 - moment.second - moment.microsecond / 1e6
            # A float cannot hold every microsecond, and the minute must have begun.
            at = float(round(at))
            moment = self._local(at)
            if self._open(moment) != state:
                return at
        return None
