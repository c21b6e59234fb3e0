"""``python -m tests.fuzz --inputs 10000000 --seed 7``: reads hostile input, ends with 1 if anything broke."""

import argparse
import asyncio
import json
import logging
import sys
import time
from dataclasses import asdict

import click
import structlog

from tests.fuzz.running import MOST_BYTES, TARGETS, drawn, fuzz, one


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    parser.add_argument("--only", help="TARGET:NUMBER, one input again, with its traceback")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if arguments.only:
        return asyncio.run(again(arguments.only, arguments.seed))
    began = time.monotonic()
    figures = asyncio.run(fuzz(arguments.inputs, arguments.seed, first=arguments.first))
    report = asdict(figures) | {"seed": arguments.seed, "seconds": round(time.monotonic() - began, 1)}
    if arguments.json:
        click.echo(json.dumps(report))
    else:
        for name, value in report.items():
            click.echo(f"{name}: {value}")
    return int(bool(figures.broken) or figures.growth_bytes > MOST_BYTES)


async def again(which: str, seed: int) -> int:
    """Read one input again and let what it raises come out."""
    name, _, number = which.rpartition(":")
    target = next(target for target in TARGETS if target.name == name)
    case = drawn(target, seed, int(number))
    click.echo(repr(case))
    took_s, refused = await one(target, case)
    click.echo(f"{'refused' if refused else 'read'} in {took_s * 1000:.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
