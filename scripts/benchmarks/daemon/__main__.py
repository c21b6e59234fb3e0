"""``scripts/bench daemon``: measure and write docs/benchmarks/daemon.md and daemon.json.

Without options: the fake renderer and ``tiny`` on the processor, less than four minutes. What is not run keeps its
figures of the last run, with their date.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from node import __version__
from node.errors import NodeError
from node.observe.logging import configure_logging
from node.pipeline.profiles import load_profile
from node.worker.fake import is_fake
from scripts.benchmarks.daemon import market, worker
from scripts.benchmarks.daemon.report import report

ROOT = Path(__file__).resolve().parents[3]
FIGURES = ROOT / "docs" / "benchmarks" / "daemon.json"
FAKE = "fake:50"
TOY = "tiny"


def main() -> None:
    options = read_options(sys.argv[1:])
    configure_logging("auto", "error")
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {"workers": {}}
    with tempfile.TemporaryDirectory(prefix="bench-daemon-") as folder:
        try:
            asyncio.run(_measure(options, Path(folder), figures))
        except NodeError as problem:
            sys.exit(f"scripts/bench daemon: {problem}")
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    FIGURES.with_suffix(".md").write_text(report(figures))
    print(report(figures))


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what is to be measured. Exits with 2 if it cannot be."""
    parser = argparse.ArgumentParser(prog="scripts/bench daemon", description=__doc__)
    parser.add_argument(
        "--profile",
        help="measure the worker with this profile alone, such as sdv-1.1 on a GPU, and leave the rest as it is",
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where that profile's models are; tiny makes its own"
    )
    parser.add_argument("--gpu", metavar="GPU", help="a UUID or an index; without it the worker chooses")
    options = parser.parse_args(arguments)
    try:
        needs_models = (
            options.profile and not is_fake(options.profile) and not load_profile(options.profile).made_here
        )
    except NodeError as problem:
        parser.error(str(problem))
    if needs_models and options.data_dir is None:
        parser.error(
            f"--data-dir DIR is needed with {options.profile}: the node.data_dir that models pull filled"
        )
    return options


async def _measure(options: argparse.Namespace, folder: Path, figures: dict) -> None:
    for profile in [options.profile] if options.profile else [FAKE, TOY]:
        _say(f"a worker with profile {profile}")
        subject = worker.Subject(profile, options.data_dir or folder / "data", options.gpu)
        figures["workers"][profile] = _made() | await worker.measure(subject, folder / profile)
    if options.profile is None:
        _say("a job through pool, socket and process beside its renderer alone")
        figures["handing_over"] = _made() | await worker.handing_over(folder / "handing over")
        _say(f"the whole daemon with {market.JOBS} jobs, about a minute and a half")
        data_dir = folder / "daemon"
        data_dir.mkdir(mode=0o700)
        figures["daemon"] = _made() | await market.measure(data_dir)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _made() -> dict[str, str]:
    load = os.getloadavg()[0]
    machine = f"{os.cpu_count()} cores {platform.machine()}, load {load:.1f} before it"
    return {"made": f"sdv-node {__version__}, {machine}, {datetime.now(UTC):%Y-%m-%d}"}


if __name__ == "__main__":
    main()
