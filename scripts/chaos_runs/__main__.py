"""``scripts/chaos``: run tests of the reliability programme and record their figures.

Progress goes to the terminal; the figures go to docs/reliability.json and, made from it, docs/reliability.md.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.chaos_runs import (
    disks,
    endpoints,
    others,
    own,
    packaging,
    publishing,
    reorganisations,
    repeating,
    strangers,
    workers,
)
from scripts.chaos_runs.programme import Case, Run, Test, figures
from scripts.chaos_runs.record import Record, machine, remember, table
from scripts.chaos_runs.suite import run_selection
from tests.chaos.harness.arena import Arena, arena
from tests.chaos.harness.nodes import Nodes, zygote

SHOWN_FAILURES = 20
MODULES = (
    own,
    workers,
    disks,
    reorganisations,
    endpoints,
    publishing,
    others,
    strangers,
    repeating,
    packaging,
)
TESTS = {test.name: test for module in MODULES for test in module.TESTS}
SELECTIONS = {selection.name: selection for selection in others.SELECTIONS}


def main() -> None:
    """Run what is named and end with 1 if anything failed."""
    options = _options(sys.argv[1:])
    names = [*TESTS, *SELECTIONS] if "all" in options.tests else options.tests
    records = []
    for name in names:
        if name in TESTS:
            records.append(asyncio.run(_run(TESTS[name], options)))
        else:
            records.append(run_selection(SELECTIONS[name], options.size, _command(options, name)))
        if options.record:
            remember(records)
    print(table(records))
    sys.exit(any(record.failures for record in records))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    known = ["all", *TESTS, *SELECTIONS]
    parser.add_argument("tests", nargs="*", metavar="TEST", help=f"any of {', '.join(known)} (default all)")
    parser.add_argument("--size", choices=("ci", "full"), default="ci")
    parser.add_argument("--runs", type=int, help="run this many seeds instead of the size's number")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--lanes", type=int, default=2, help="runs at a time, each on a chain of its own")
    parser.add_argument("--only", help="only runs whose name contains this text, to repeat a failure")
    parser.add_argument("--no-record", dest="record", action="store_false", help="leave docs/ as it is")
    options = parser.parse_args(arguments)
    options.tests = options.tests or ["all"]
    if unknown := set(options.tests) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if options.only:
        options.record = False
    return options


def _command(options: argparse.Namespace, name: str) -> str:
    words = ["scripts/chaos", name, "--size", options.size, "--seed", str(options.seed)]
    if options.runs is not None:
        words += ["--runs", str(options.runs)]
    return " ".join(words)


async def _run(test: Test, options: argparse.Namespace) -> Record:
    seeds = test.sizes[options.size] if options.runs is None else options.runs
    cases = test.cases_at(options.size)
    todo = [(case, seed) for seed in range(options.seed, options.seed + seeds) for case in cases]
    if options.only:
        name = todo[0][0].at(todo[0][1])
        todo = [(case, seed) for case, seed in todo if options.only in case.at(seed)]
        if not todo:
            sys.exit(f"scripts/chaos: no run of {test.name} has {options.only!r} in its name, such as {name}")
    began, queue, done = time.monotonic(), list(reversed(todo)), dict[str, Run]()

    async def lane(place: Arena) -> None:
        while queue:
            case, seed = queue.pop()
            name = case.at(seed)
            run = done[name] = await _one(case, place, seed, test.limit_s)
            place.clear(keep=bool(run.broken))
            if run.broken:
                print(f"\n{test.name} {name}: {run.broken}\n  kept in {place.directory}", flush=True)
            print(f"\r{test.name}: {len(done)} of {len(todo)} runs", end="", flush=True)

    folder = Path(tempfile.mkdtemp(prefix="sdv-chaos-"))

    async def opened(nodes: Nodes, number: int) -> None:
        async with arena(nodes, folder / f"lane-{number}") as place:
            await lane(place)

    lanes = min(options.lanes, test.lanes, len(todo))
    async with zygote() as nodes:
        await asyncio.gather(*(opened(nodes, number) for number in range(lanes)))
    print()
    failed = [f"{name}: {run.broken[0]}" for name, run in done.items() if run.broken]
    return Record(
        test=test.name,
        what=test.what,
        size=options.size if options.runs is None else f"{seeds} seeds",
        runs=sum(run.weight for run in done.values()),
        failures=len(failed),
        failed=failed[:SHOWN_FAILURES],
        first_seed=options.seed,
        seeds=seeds,
        seconds=round(time.monotonic() - began),
        command=_command(options, test.name),
        machine=machine(),
        figures=figures(done.values()),
    )


async def _one(case: Case, place: Arena, seed: int, limit_s: float) -> Run:
    """Run one; whatever it raises is a failure of that run, never the end of the others."""
    try:
        async with asyncio.timeout(limit_s):
            return await case.run(place, seed)
    except Exception as error:  # noqa: BLE001
        return Run([f"{type(error).__name__}: {error}"[-3000:]])


if __name__ == "__main__":
    main()
