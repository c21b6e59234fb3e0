"""What a test of the programme is made of."""

import math
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.findings import Findings


@dataclass
class Run:
    """One run: what was broken, and what it adds to the figures."""

    broken: list[str]
    weight: int = 1
    """For how many runs of the programme this counts."""
    counts: dict[str, int] = field(default_factory=dict)
    highest: dict[str, float] = field(default_factory=dict)
    samples: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Of these the page tells the 95th percentile and the highest of all runs."""


@dataclass(frozen=True)
class Case:
    """What is run once for each seed. ``name`` is empty where a test has one case only."""

    name: str
    run: Callable[[Arena, int], Awaitable[Run]]

    def at(self, seed: int) -> str:
        """Return the name of one run."""
        return f"{self.name}, seed {seed}" if self.name else f"seed {seed}"


@dataclass(frozen=True)
class Test:
    """A test of the programme. ``sizes`` count the seeds, ``lanes`` bounds how many runs go at a time."""

    name: str
    what: str
    cases: tuple[Case, ...]
    sizes: dict[str, int]
    full_cases: tuple[Case, ...] = ()
    """Instead of ``cases`` at full size, where a run itself is larger then."""
    lanes: int = 16
    limit_s: float = 600.0
    """A run that takes longer has failed."""

    def cases_at(self, size: str) -> tuple[Case, ...]:
        """Return what is run for each seed at a size."""
        return self.full_cases if size == "full" and self.full_cases else self.cases


@dataclass(frozen=True)
class Selection:
    """A test whose runs are cases of the test suite."""

    name: str
    what: str
    paths: tuple[str, ...]


def p95(values: Iterable[float]) -> float:
    """Return the value that 95 % of these do not exceed, 0 if there are none."""
    ordered = sorted(values)
    return ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else 0.0


def figures(runs: Iterable[Run]) -> dict[str, float]:
    """Return what the runs add up to, by name."""
    counts: Counter[str] = Counter()
    found: dict[str, float] = {}
    samples: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        counts.update(run.counts)
        for what, value in run.highest.items():
            found[what] = max(value, found.get(what, 0.0))
        for what, values in run.samples.items():
            samples[what] += values
    for what, values in samples.items():
        found[f"95 % of: {what}"] = p95(values)
        found[f"slowest {what}"] = max(values, default=0.0)
    return {**counts, **{what: round(value, 2) for what, value in found.items()}}


def counted(found: Findings) -> dict[str, int]:
    """Return what the invariants counted on the way."""
    return {
        "deals": found.deals,
        "lost": found.lost,
        "results read": found.read,
        "transactions": found.transactions,
        "replacements": found.replacements,
    }
