"""What a measurement is made of, and how rounds are timed side by side."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

MB = 10**6


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    what: str
    value: str
    target: str = ""


@dataclass(frozen=True)
class Measurement:
    """A named part of the report: ``run`` gets an empty folder and returns its rows."""

    name: str
    title: str
    run: Callable[[Path], list[Row]]
    reading: str
    """How the figures came about and what they mean, as Markdown."""


def rounds(works: Mapping[str, Callable[[], object]], number: int) -> dict[str, list[float]]:
    """Return the seconds that each work took in each round; all works in turn, so that they share the noise."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(number):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - began)
    return times


def speed(size_bytes: int, seconds: list[float]) -> float:
    """Return the median speed in MB/s."""
    return size_bytes / MB / statistics.median(seconds)


def share(of: list[float], than: list[float]) -> float:
    """Return how fast ``of`` is in times of ``than``: the median of the rounds' ratios."""
    return statistics.median(other / own for own, other in zip(of, than, strict=True))


def random_file(path: Path, size_bytes: int) -> Path:
    """Make a file whose every block is different."""
    with path.open("wb") as file:
        for _ in range(size_bytes // (1 << 20)):
            file.write(os.urandom(1 << 20))
    return path
