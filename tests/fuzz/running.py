"""Runs inputs through the targets, and tells what broke so that one number makes it again.

The bounds of T13: no exception but the documented ones, 50 ms of processor time, 64 MiB. Time is that of this
process, and a slow input is read again before it is blamed, so that a busy machine blames none.
"""

import inspect
import resource
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.fuzz import endpoint, readers, rooms
from tests.fuzz.readers import Target

TARGETS: tuple[Target, ...] = (*readers.TARGETS, *endpoint.TARGETS, *rooms.TARGETS)
SLOWEST_S = 0.050
MOST_BYTES = 64 * 1024 * 1024
AGAIN = 3
SHOWN = 400


@dataclass(frozen=True, slots=True)
class Broken:
    """An input that broke a promise; ``python -m tests.fuzz --only "TARGET:NUMBER" --seed N`` repeats it."""

    target: str
    number: int
    problem: str
    shown: str


@dataclass(slots=True)
class Figures:
    """What a run did. ``slowest_s`` is processor time, ``growth_bytes`` what the process grew by."""

    inputs: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    slowest_s: float = 0.0
    slowest: str = ""
    growth_bytes: int = 0
    broken: list[Broken] = field(default_factory=list)


def drawn(target: Target, seed: int, number: int) -> Any:
    """Return the input of this number: the same for the same seed, whatever came before."""
    return target.make(Random((seed << 40) + number))


async def one(target: Target, case: Any) -> tuple[float, bool]:
    """Return the processor time of one reading in seconds, and whether the input was refused."""
    began = time.process_time_ns()
    refused = False
    try:
        done = target.read(case)
        if inspect.isawaitable(done):
            await done
    except target.expected:
        refused = True
    return (time.process_time_ns() - began) / 1e9, refused


async def check(target: Target, seed: int, number: int, figures: Figures) -> None:
    """Read one input and note what it did."""
    case = drawn(target, seed, number)
    try:
        took_s, refused = await one(target, case)
        tries = AGAIN if took_s > SLOWEST_S else 0
        for _ in range(tries):
            took_s = min(took_s, (await one(target, case))[0])
    except Exception as problem:  # noqa: BLE001 - whatever it is, it is what we look for
        told = f"{type(problem).__name__}: {problem}"
        figures.broken.append(Broken(target.name, number, told[:SHOWN], repr(case)[:SHOWN]))
        return
    figures.inputs[target.name] = figures.inputs.get(target.name, 0) + 1
    figures.refused[target.name] = figures.refused.get(target.name, 0) + refused
    if took_s > figures.slowest_s:
        figures.slowest_s, figures.slowest = took_s, f"{target.name}:{number}"
    if took_s > SLOWEST_S:
        problem = f"took {took_s * 1000:.0f} ms of processor time"
        figures.broken.append(Broken(target.name, number, problem, repr(case)[:SHOWN]))


async def fuzz(inputs: int, seed: int, *, first: int = 0) -> Figures:
    """Read ``inputs`` inputs from number ``first`` on, shared between the targets by their shares."""
    figures = Figures()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    turns = [target for target in TARGETS for _ in range(target.share)]
    Random(0).shuffle(turns)
    for number in range(first, first + inputs):
        await check(turns[number % len(turns)], seed, number, figures)
    figures.growth_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return figures
