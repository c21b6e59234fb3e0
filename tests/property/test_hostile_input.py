"""Hostile input by the hundred thousand (T13): no crash, 50 ms, 64 MiB; by ``tests.fuzz`` any number."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz.readers import Target
from tests.fuzz.running import MOST_BYTES, SLOWEST_S, TARGETS, Figures, check

ROOT = Path(__file__).resolve().parents[2]
INPUTS = 100_000


def test_a_hundred_thousand_hostile_inputs_crash_nothing_and_stay_within_their_bounds():
    # Its own process: what it grows by is what the inputs cost, whatever other tests left in this one.
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", str(INPUTS), "--seed", "1", "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stdout, ran.stderr
    figures = json.loads(ran.stdout)
    assert figures["broken"] == []
    assert figures["slowest_s"] <= SLOWEST_S
    assert figures["growth_bytes"] <= MOST_BYTES
    assert sum(figures["inputs"].values()) == INPUTS
    assert set(figures["inputs"]) == {target.name for target in TARGETS}


def fails(_case):
    raise KeyError("not a documented error")


def spends(_case):
    until = time.process_time() + SLOWEST_S * 1.5
    while time.process_time() < until:
        pass


def refuses(_case):
    raise ValueError("documented")


@pytest.mark.parametrize(("read", "told"), [(fails, "KeyError"), (spends, "ms of processor time")])
async def test_an_input_that_breaks_a_promise_is_named_by_its_number(read, told):
    figures = Figures()
    await check(Target("room", 1, lambda dice: dice.random(), read, (ValueError,)), 7, 31, figures)
    (broken,) = figures.broken
    assert (broken.target, broken.number) == ("room", 31)
    assert told in broken.problem


async def test_a_documented_refusal_breaks_nothing():
    figures = Figures()
    await check(Target("room", 1, lambda dice: dice.random(), refuses, (ValueError,)), 7, 31, figures)
    assert (figures.broken, figures.refused) == ([], {"room": 1})
