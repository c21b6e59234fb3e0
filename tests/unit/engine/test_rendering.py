"""A rendering is measured, learned from and told beside what was expected; those who wait are told when."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from node.admission.run_times import Rig, RunTimes
from node.admission.time_records import TimeRecords
from node.engine.book import Book
from node.engine.forecast import Forecast
from node.engine.rendering import Rendering
from node.job.effects import Effect, EffectKind
from node.job.events import Rendered, RenderStarted
from node.job.phase import Phase
from node.job.progress import Progress
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import make_job
from tests.fakes.rendering import SIZES, Machine


@dataclass
class Files:
    directory: Path
    outputs: tuple[str, ...] = ("outputs/still_00001_.png",)
    determinism_class: str = "c1"


class Scene:
    """A node's rendering room on a machine of known speed. ``on_disk``: the result is there already."""

    def __init__(self, directory: Path, slots: int = 1) -> None:
        self.clock = FakeClock()
        self.machine = Machine()
        self.book = Book()
        self.on_disk = False
        self.posted: list[object] = []
        self.ratios: list[tuple[float, float]] = []
        self.during: list[float] = []
        self.times = RunTimes(
            Rig("sdv-1.1", "NVIDIA H200", SIZES), TimeRecords(directory), initial_s=600.0, clock=self.clock
        )
        self.forecast = Forecast(self.times, self.book, self.clock, slots=lambda: slots)
        self.rendering = Rendering(
            self,
            self.post,
            lambda _job_id, _progress: None,
            directory / "jobs",
            self.times,
            self.forecast,
            self.clock,
            on_taken=lambda expected_s, taken_s: self.ratios.append((expected_s, taken_s)),
        )

    async def post(self, facts) -> None:
        self.posted.extend(event for _, event in facts.events)

    async def render(self, job_id, spec, job_dir, on_progress):
        if not self.on_disk:
            job = self.book.get(job_id)
            self.machine.now = self.clock.time

            def told(progress: Progress, now: float) -> None:
                self.clock.time = now
                on_progress(progress)
                self.during.append(self.forecast.of(job)["left_s"])

            self.machine.play(spec, told)
            self.clock.time = self.machine.now
        return Files(job_dir)

    async def carry_out(self, number: int) -> Rendered:
        job = make_job(Phase.AGREED, number)
        self.book.put(job, now=self.clock.now())
        event = await self.rendering.render(job, Effect(job.job_id, EffectKind.RENDER))
        self.book.put(job.to(Phase.PUBLISHING), now=self.clock.now())
        return event


async def test_what_was_expected_and_what_it_took_are_told_and_learned(tmp_path):
    scene = Scene(tmp_path)
    first, second = await scene.carry_out(1), await scene.carry_out(2)
    true_s = scene.machine.takes_s(make_job().offer.spec)
    assert (first.expected_s, first.taken_s) == (600.0, pytest.approx(true_s, abs=0.001))
    assert second.expected_s == pytest.approx(true_s, abs=0.001)
    assert scene.ratios == [(600.0, pytest.approx(true_s)), (pytest.approx(true_s), pytest.approx(true_s))]
    assert scene.posted == [RenderStarted(), RenderStarted()]


async def test_a_result_that_was_on_the_disk_teaches_nothing(tmp_path):
    scene = Scene(tmp_path)
    scene.on_disk = True
    event = await scene.carry_out(1)
    assert (event.expected_s, event.taken_s) == (None, None)
    assert not scene.times.estimate(make_job().offer.spec).measured
    assert scene.ratios == []


async def test_the_time_left_falls_to_nothing_as_the_job_goes_on(tmp_path):
    scene = Scene(tmp_path)
    await scene.carry_out(1)
    scene.during.clear()
    await scene.carry_out(2)
    assert scene.during == sorted(scene.during, reverse=True)
    assert scene.during[0] == pytest.approx(scene.machine.takes_s(make_job().offer.spec), rel=0.01)
    assert scene.during[-1] < 1


async def test_a_machine_that_is_slower_today_is_noticed_within_the_job(tmp_path):
    scene = Scene(tmp_path)
    await scene.carry_out(1)
    scene.machine.unit_s = {part: 2 * seconds for part, seconds in scene.machine.unit_s.items()}
    scene.during.clear()
    began = scene.clock.time
    await scene.carry_out(2)
    taken_s = scene.clock.time - began
    half_way = scene.during[len(scene.during) // 2]
    assert taken_s / 4 < half_way < taken_s


async def test_a_job_that_waits_is_reckoned_behind_those_before_it(tmp_path):
    one, two = Scene(tmp_path / "1", slots=1), Scene(tmp_path / "2", slots=2)
    for scene in (one, two):
        await scene.carry_out(1)
        for number in (2, 3, 4):
            scene.book.put(make_job(Phase.AGREED, number), now=0.0)
    each = one.machine.takes_s(make_job().offer.spec)

    def left_s(scene):
        return [scene.forecast.of(scene.book.get(f"j{number}"))["left_s"] for number in (2, 3, 4)]

    assert left_s(one) == pytest.approx([each, 2 * each, 3 * each], abs=0.01)
    assert left_s(two) == pytest.approx([each, each, 2 * each], abs=0.01)
    assert one.forecast.ahead_s() == pytest.approx([each] * 3, abs=0.01)


async def test_nothing_is_forecast_of_a_job_that_is_not_agreed_or_is_rendered(tmp_path):
    scene = Scene(tmp_path)
    for phase in (Phase.SEEN, Phase.PROPOSED, Phase.PUBLISHING, Phase.PAID):
        assert scene.forecast.of(make_job(phase)) is None
