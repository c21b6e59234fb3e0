"""``scripts/bench ipfs``: run the named measurements and write docs/benchmarks/ipfs.md and ipfs.json.

What is not run keeps its figures of the last run, with their date.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from node import __version__
from node.observe.logging import configure_logging
from scripts.benchmarks.ipfs.fetching import DOWNLOAD
from scripts.benchmarks.ipfs.importing import IMPORT, MEMORY
from scripts.benchmarks.ipfs.measurement import Measurement, Row
from scripts.benchmarks.ipfs.serving import SERVING

ROOT = Path(__file__).resolve().parents[3]
FIGURES = ROOT / "docs" / "benchmarks" / "ipfs.json"
HEAD = (
    "# What publishing costs\n\nMade by `scripts/bench ipfs`. Compare the ratios between machines, not the speeds: the "
    "machines were busy with other work.\n"
)
MEASUREMENTS: tuple[Measurement, ...] = (IMPORT, MEMORY, DOWNLOAD, SERVING)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench ipfs", description=__doc__)
    names = [one.name for one in MEASUREMENTS]
    parser.add_argument(
        "names", nargs="*", metavar="MEASUREMENT", help=f"any of {', '.join(names)} (default all)"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    configure_logging("auto", "warning")
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    for one in MEASUREMENTS:
        if one.name in (options.names or names):
            print(one.title, file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="bench-ipfs-") as folder:
                rows = one.run(Path(folder))
            figures[one.name] = {"made": _made(), "rows": [asdict(row) for row in rows]}
            FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    text = report(figures)
    FIGURES.with_suffix(".md").write_text(text)
    print(text)


def _made() -> str:
    today = datetime.now(UTC).date()
    return f"sdv-node {__version__}, {os.cpu_count()} cores {platform.machine()}, {today}"


def report(figures: dict) -> str:
    parts = [HEAD]
    for one in MEASUREMENTS:
        if one.name not in figures:
            continue
        found = figures[one.name]
        rows = [Row(**row) for row in found["rows"]]
        table = "\n".join(f"| {row.what} | {row.value} | {row.target} |" for row in rows)
        parts.append(
            f"## {one.title}\n\nWith {found['made']}.\n\n| measure | value | target |\n|---|---|---|\n{table}\n\n"
            f"{one.reading}\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    main()
