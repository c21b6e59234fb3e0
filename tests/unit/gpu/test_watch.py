"""The watch never lets the event loop wait for the driver, and never asks it twice at a time."""

import asyncio
import threading
from dataclasses import replace

import pytest

from node.gpu.readings import FaultKind, GpuReport
from node.gpu.watch import NOT_READ, GpuWatch, read_once
from tests.fakes.clock import FakeClock
from tests.fakes.gpus import card

FOUND = GpuReport((card(),))


class ScriptedDriver:
    """Gives one answer after another; one that is an event is waited for first, as a call that hangs."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.calls = 0
        self.closed = threading.Event()

    def read(self) -> GpuReport:
        self.calls += 1
        answer = self.answers.pop(0)
        if isinstance(answer, threading.Event):
            answer.wait(30)
            answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed.set()


def watch_of(driver, clock=None, patience_s=10.0, **options):
    return GpuWatch(driver, clock or FakeClock(), every_s=5.0, patience_s=patience_s, **options)


async def test_before_the_first_look_nothing_is_claimed_to_be_known():
    watch = watch_of(ScriptedDriver(FOUND))
    assert watch.report is NOT_READ
    assert await watch.look() is FOUND
    assert watch.report is FOUND
    watch.close()


async def test_a_call_that_hangs_is_told_asked_once_and_its_late_answer_is_taken():
    comes_back = threading.Event()
    driver = ScriptedDriver(comes_back, FOUND, FOUND)
    clock = FakeClock()
    watch = watch_of(driver, clock, patience_s=0.01)
    for silent_s in (0.0, 60.0):
        clock.time += silent_s
        report = await watch.look()
        assert report.gpus == ()
        assert [fault.kind for fault in report.faults] == [FaultKind.HUNG]
    assert "has not answered for 60 s" in report.problem
    assert driver.calls == 1
    comes_back.set()
    while watch.report.faults:
        await watch.look()
    assert watch.report is FOUND
    watch.close()


async def test_a_binding_that_breaks_is_a_problem_and_the_next_look_is_made():
    driver = ScriptedDriver(AttributeError("no such call"), FOUND)
    watch = watch_of(driver)
    report = await watch.look()
    assert "AttributeError: no such call" in report.problem
    assert await watch.look() is FOUND
    watch.close()


async def test_every_report_is_passed_on():
    hotter = GpuReport((replace(card(), temperature_c=90),))
    heard = []
    watch = watch_of(ScriptedDriver(FOUND, hotter), on_report=heard.append)
    await watch.look()
    await watch.look()
    assert heard == [FOUND, hotter]
    watch.close()


async def test_running_looks_every_few_seconds():
    clock = FakeClock()
    seen = asyncio.Queue()
    watch = watch_of(ScriptedDriver(*[FOUND] * 50), clock, on_report=seen.put_nowait)
    running = asyncio.create_task(watch.run())
    for _ in range(3):
        await seen.get()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert set(clock.slept) == {5.0}
    watch.close()


async def test_a_single_reading_ends_its_session():
    driver = ScriptedDriver(FOUND)
    assert await read_once(driver) is FOUND
    assert driver.closed.wait(30)
