"""The figures on disk: docs/reliability.json keeps them, docs/reliability.md is made from it."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
DATA, PAGE = DOCS / "reliability.json", DOCS / "reliability.md"
RULE_OF_THREE = 3
ORDER = (
    "T1",
    "T1-mediator",
    "T2",
    "T4",
    "T5",
    "T5-random",
    "T6",
    "T6-outage",
    "T7",
    "T8",
    "T8-copies",
    "T9",
    "T10",
    "T10-tiny",
    "T11",
    "T12",
    "T13",
    "T14",
    "T15",
    "T16",
    "T17",
    "T18",
    "T20",
    "T22",
)


@dataclass(frozen=True)
class Record:
    """What one test came to at one size on one machine."""

    test: str
    what: str
    size: str
    runs: int
    failures: int
    seconds: int
    command: str
    machine: str
    failed: list[str] = field(default_factory=list)
    first_seed: int | None = None
    seeds: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    @property
    def bound(self) -> str:
        """The failure rate that the runs exclude at 95 % (rule of three).

        None for runs that failed, were too few, or have no seed: the same cases each time are no sample.
        """
        if self.failures or self.runs <= RULE_OF_THREE or self.first_seed is None:
            return "-"
        return f"< {100 * RULE_OF_THREE / self.runs:.2g} %"


def machine() -> str:
    """Return the kind of this machine, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores {platform.machine()}, {memory:.0f} GiB, {platform.system()}"


def remember(records: Sequence[Record]) -> None:
    """Put the records in place of older ones of the same test and size, and write the page anew."""
    known = {(record.test, record.size): record for record in load()}
    known |= {(record.test, record.size): record for record in records}
    kept = sorted(known.values(), key=lambda record: (ORDER.index(record.test), record.size))
    DATA.write_text(json.dumps([asdict(record) for record in kept], indent=1) + "\n")
    PAGE.write_text(page(kept))


def load() -> list[Record]:
    """Return the records on disk."""
    if not DATA.exists():
        return []
    return [Record(**entry) for entry in json.loads(DATA.read_text())]


def table(records: Sequence[Record]) -> str:
    """Return the records as a Markdown table."""
    lines = [
        "| test | what | size | runs | failures | failure rate (95 %) | first seed | time | command |",
        "|---|---|---|---:|---:|---|---:|---:|---|",
    ]
    for record in records:
        seed = "-" if record.first_seed is None else record.first_seed
        lines.append(
            f"| {record.test} | {record.what} | {record.size} | {record.runs} | {record.failures} | "
            f"{record.bound} | {seed} | {record.seconds} s | `{record.command}` |"
        )
    return "\n".join(lines)


def page(records: Sequence[Record]) -> str:
    """Return docs/reliability.md."""
    figures = [
        f"| {record.test} | {record.size} | {what} | {value:g} |"
        for record in records
        for what, value in record.figures.items()
    ]
    failed = [f"- {record.test} ({record.size}): {name}" for record in records for name in record.failed]
    machines = sorted({f"{record.machine} ({record.date})" for record in records})
    return PREFACE.format(
        table=table(records),
        figures="\n".join(["| test | size | figure | value |", "|---|---|---|---:|", *figures]),
        failed="\n".join(failed) if failed else "None.",
        machines="; ".join(machines),
    )


PREFACE = (Path(__file__).with_name("preface.md")).read_text()
