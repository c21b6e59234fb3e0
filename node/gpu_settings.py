"""The settings below ``[gpu]``: when GPUs work for the market, how hot they may get, what is left to others.

What they come to at a moment is decided in ``node.gpu``.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from node.setting_types import Listed, Section

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_A_DAY = 1440
_WINDOW = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))? +)?"
    r"(?P<begin>[0-9]{1,2}:[0-9]{2}) *- *(?P<end>[0-9]{1,2}:[0-9]{2})"
)
_FORM = 'such as "22:00-07:00", "sat-sun 00:00-24:00" or "fri 18:30-23:00"'


@dataclass(frozen=True, slots=True)
class Window:
    """A span of local time, in minutes after midnight; ``days`` are those it begins on (0 is Monday).

    One that ends no later than it begins reaches into the day after.
    """

    days: frozenset[int]
    begin: int
    end: int

    def covers(self, weekday: int, minute: int) -> bool:
        """Whether a minute of local time is inside."""
        if self.begin < self.end:
            return weekday in self.days and self.begin <= minute < self.end
        begun_today = weekday in self.days and minute >= self.begin
        begun_yesterday = (weekday - 1) % 7 in self.days and minute < self.end
        return begun_today or begun_yesterday


def parse_window(text: str) -> Window:
    """Return a window as an operator writes it. Raises ValueError, saying what is allowed."""
    found = _WINDOW.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text[:60]!r} is no window of time: write it {_FORM}")
    begin, end = (_minute(found[side], text) for side in ("begin", "end"))
    if begin == end:
        raise ValueError(f'{text[:60]!r} begins when it ends: for a whole day write "00:00-24:00"')
    if begin == MINUTES_A_DAY:
        raise ValueError(f"{text[:60]!r} begins at 24:00: write 00:00 of the day after")
    return Window(_days(found["first"], found["last"], text), begin, end)


def _minute(clock: str, text: str) -> int:
    hour, minute = map(int, clock.split(":"))
    if minute > 59 or hour * 60 + minute > MINUTES_A_DAY:
        raise ValueError(f"{text[:60]!r}: {clock} is no time of day, those are 00:00 to 24:00")
    return hour * 60 + minute


def _days(first: str | None, last: str | None, text: str) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    for name in filter(None, (first, last)):
        if name not in DAYS:
            raise ValueError(f"{text[:60]!r}: {name} is no day, those are {', '.join(DAYS)}")
    begin = DAYS.index(first)
    end = DAYS.index(last or first)
    return frozenset(day % 7 for day in range(begin, begin + (end - begin) % 7 + 1))


def _windows(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        parse_window(text)
    return texts


class GpuSection(Section):
    """When and how far the GPUs are this node's."""

    hours: Annotated[Listed[str], Field(max_length=32), AfterValidator(_windows)]
    pause_above_c: Annotated[int, Field(ge=0, le=120)]
    resume_below_c: Annotated[int, Field(ge=0, le=120)]
    yield_to_others: bool
    resume_after_s: Annotated[float, Field(ge=0, le=86_400)]
    release_when_idle: bool
    poll_interval_s: Annotated[float, Field(ge=0.2, le=60)]

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows of ``hours``; none means always."""
        return tuple(map(parse_window, self.hours))

    @model_validator(mode="after")
    def _cooler_before_it_resumes(self) -> Self:
        if self.resume_below_c and not self.pause_above_c:
            raise ValueError("resume_below_c is set without pause_above_c: set both, or none")
        if self.pause_above_c and self.resume_below_c >= self.pause_above_c:
            raise ValueError(
                f"resume_below_c is {self.resume_below_c} and pause_above_c {self.pause_above_c}: "
                "resume at a lower temperature than the pause begins at"
            )
        return self
