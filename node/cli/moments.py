"""Moments as people give them on the command line: a date, a date with time, or an age such as 7d."""

import re
import time
from datetime import UTC, datetime

from node.errors import Misconfigured

_AGE = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
FORMS = "2026-11-28, 2026-11-28T10:30 (both UTC), or an age: 90m, 24h, 7d, 4w"


def moment(text: str | None, *, now: float | None = None) -> float | None:
    """Return seconds since the Unix epoch, None for None. Raises Misconfigured for anything else."""
    if text is None:
        return None
    age = _AGE.fullmatch(text)
    if age is not None:
        return (time.time() if now is None else now) - int(age[1]) * _SECONDS[age[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Misconfigured(f"{text!r} is not a moment: give one as {FORMS}") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def date_time(at: float) -> str:
    """Return a moment for people, in this machine's time zone."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
