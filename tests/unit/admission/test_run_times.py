"""Learning how long jobs take: from progress, robustly, kept over restarts."""

import asyncio
import json
from dataclasses import replace

import pytest

from node.admission.estimate import MARGIN_UNTRIED, NEEDED
from node.admission.run_times import Rig, RunTimes
from node.admission.time_records import FILE, KEPT_MACHINES, KEPT_SAMPLES, TimeRecords
from node.admission.work import Part
from node.job.progress import Progress
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import make_spec
from tests.fakes.rendering import SIZES, SPEEDS, Machine

RIG = Rig("sdv-1.1", "NVIDIA H200", SIZES)
INITIAL_S = 600.0
SMALL = make_spec("Prompt=a", "Steps=10", "VideoSteps=6", "Sampler=heun", "VideoSampler=euler")
LARGE = make_spec(
    *("Prompt=b", "Steps=50", "VideoSteps=50", "Batching=4", "VideoSampler=dpm_2", "Frames=png"),
    *("Scheduler=ddim_uniform", "Sampler=heunpp2"),
)


def times_in(directory, rig=RIG):
    return RunTimes(rig, TimeRecords(directory), initial_s=INITIAL_S, clock=FakeClock())


async def rendered(times, machine, spec, determinism_class="c1"):
    run = times.run(spec)
    taken_s = machine.play(spec, run.told)
    run.ended(machine.now)
    await times.learn(run, taken_s, determinism_class)
    return run, taken_s


async def test_before_anything_is_measured_every_job_counts_as_the_settings_say(tmp_path):
    found = times_in(tmp_path).estimate(LARGE)
    assert (found.expected_s, found.upper_s, found.measured) == (INITIAL_S, INITIAL_S, False)


async def test_one_job_tells_the_times_of_all_parts_and_so_of_every_other_job(tmp_path):
    times, machine = times_in(tmp_path), Machine()
    await rendered(times, machine, SMALL)
    learned = times.times().parts
    assert learned.keys() >= NEEDED
    for part, seconds in learned.items():
        assert seconds == pytest.approx(SPEEDS[part], rel=1e-6), part
    await rendered(times, machine, replace(SMALL, frames="png"))
    found = times.estimate(LARGE)
    assert found.expected_s == pytest.approx(machine.takes_s(LARGE), rel=1e-6)
    assert found.upper_s == pytest.approx(found.expected_s * MARGIN_UNTRIED)
    assert found.measured


async def test_single_outliers_move_nothing_and_a_changed_machine_is_followed(tmp_path):
    times, machine = times_in(tmp_path), Machine()
    for _ in range(8):
        await rendered(times, machine, SMALL)
    usual = times.estimate(LARGE).expected_s
    for slow in (20.0, 0.01):
        await rendered(times, Machine({part: seconds * slow for part, seconds in SPEEDS.items()}), SMALL)
    assert times.estimate(LARGE).expected_s == pytest.approx(usual)
    throttled = Machine({part: seconds * 1.6 for part, seconds in SPEEDS.items()})
    for _ in range(KEPT_SAMPLES):
        await rendered(times, throttled, SMALL)
    assert times.estimate(LARGE).expected_s == pytest.approx(1.6 * usual, rel=1e-6)


async def test_the_margin_is_what_nine_jobs_in_ten_stayed_within(tmp_path):
    times, machine = times_in(tmp_path), Machine()
    for _ in range(KEPT_SAMPLES):
        await rendered(times, machine, SMALL)
    steady = times.estimate(SMALL)
    assert steady.upper_s == pytest.approx(1.1 * steady.expected_s)
    for slowness in (1.0, 1.9, 1.0, 1.9, 1.0):
        await rendered(times, Machine({part: s * slowness for part, s in SPEEDS.items()}), SMALL)
    unsteady = times.estimate(SMALL)
    assert unsteady.upper_s == pytest.approx(1.9 * unsteady.expected_s, rel=0.01)


async def test_a_restart_keeps_what_was_learned(tmp_path):
    await rendered(times_in(tmp_path), Machine(), SMALL)
    again = times_in(tmp_path)
    assert again.estimate(LARGE).measured
    other_gpu = times_in(tmp_path, replace(RIG, gpu="NVIDIA L4"))
    assert not other_gpu.estimate(LARGE).measured


async def test_classes_are_told_apart_and_the_newest_counts_until_the_worker_tells_its_own(tmp_path):
    clock = FakeClock()
    told = ["old"]
    times = RunTimes(
        RIG, TimeRecords(tmp_path), initial_s=INITIAL_S, clock=clock, determinism_class=lambda: told[0]
    )
    await rendered(times, Machine(), SMALL, "old")
    clock.time += 60
    twice = Machine({part: 2 * seconds for part, seconds in SPEEDS.items()})
    await rendered(times, twice, SMALL, "new")
    of_old = times.estimate(LARGE).expected_s
    told[0] = "new"
    assert times.estimate(LARGE).expected_s == pytest.approx(2 * of_old)
    told[0] = None
    assert times.estimate(LARGE).expected_s == pytest.approx(2 * of_old)
    told[0] = "never seen"
    assert not times.estimate(LARGE).measured


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file"),
        (b"{", "the file"),
        (b"\xff\xfe", "the file"),
        (b'{"version": 2, "machines": []}', "version"),
        (b'{"version": 1, "machines": [{"profile": "p"}]}', "machines.0.gpu"),
        (b'{"version": 1, "machines": [], "more": 1}', "more"),
        (b" " * 300_000, "longer than"),
    ],
)
async def test_a_damaged_file_is_told_set_aside_and_learned_anew(tmp_path, content, told):
    (tmp_path / FILE).write_bytes(content)
    times = times_in(tmp_path)
    assert told in times.status()["problem"]
    assert "sdv-node bench" in times.status()["problem"]
    assert (tmp_path / f"{FILE}.damaged").read_bytes() == content
    assert not times.estimate(LARGE).measured
    await rendered(times, Machine(), SMALL)
    assert times_in(tmp_path).status()["problem"] is None
    assert times_in(tmp_path).estimate(LARGE).measured


@pytest.mark.parametrize("bad", [-1.0, float("inf"), float("nan"), 1e12, "3"])
async def test_a_time_that_cannot_be_one_is_damage(tmp_path, bad):
    await rendered(times_in(tmp_path), Machine(), SMALL)
    document = json.loads((tmp_path / FILE).read_text())
    document["machines"][0]["parts"]["finish"] = [bad]
    (tmp_path / FILE).write_text(json.dumps(document))
    assert "machines.0.parts.finish.0" in times_in(tmp_path).status()["problem"]


async def test_the_file_stays_small(tmp_path):
    for number in range(KEPT_MACHINES + 3):
        times = times_in(tmp_path, replace(RIG, gpu=f"GPU {number}"))
        for _ in range(3):
            await rendered(times, Machine(), SMALL)
    document = json.loads((tmp_path / FILE).read_text())
    assert len(document["machines"]) == KEPT_MACHINES
    assert all(len(samples) <= KEPT_SAMPLES for samples in document["machines"][-1]["parts"].values())


async def test_jobs_that_end_together_are_both_kept(tmp_path):
    times = times_in(tmp_path)
    await asyncio.gather(*(rendered(times, Machine(), SMALL) for _ in range(4)))
    document = json.loads((tmp_path / FILE).read_text())
    assert len(document["machines"][0]["whole_s"]) == 4


async def test_a_full_disk_costs_the_record_and_not_the_job(tmp_path):
    times = times_in(tmp_path / "there")
    (tmp_path / "there").write_text("a file where the directory should be")
    await rendered(times, Machine(), SMALL)
    assert times.estimate(LARGE).measured


async def test_a_job_that_went_on_from_the_disk_teaches_no_parts(tmp_path):
    times = times_in(tmp_path)
    run = times.run(SMALL)
    for now, stage, step, steps in [
        (0.0, "still", 0, 10),
        (0.1, "still decode", 0, 1),
        (0.2, "still decode", 1, 1),
        (0.2, "clip", 0, 6),
        (5.0, "clip", 6, 6),
        (5.0, "clip decode", 0, 1),
        (6.0, "clip decode", 1, 1),
        (6.0, "encode", 0, 1),
        (7.0, "encode", 1, 1),
    ]:
        run.told(Progress(stage, step, steps, 0.5), now)
    run.ended(7.5)
    await times.learn(run, 7.5, "c1")
    assert times.times().parts == {}


async def test_a_worker_that_died_and_was_replaced_leaves_no_false_times(tmp_path):
    times, machine = times_in(tmp_path), Machine()
    run = times.run(SMALL)
    run.told(Progress("still", 0, 10, 0.0), machine.now)
    run.told(Progress("still", 1, 10, 0.01), machine.now + 40)
    machine.now += 100
    taken_s = 100 + machine.play(SMALL, run.told)
    run.ended(machine.now)
    await times.learn(run, taken_s, "c1")
    for part, seconds in times.times().parts.items():
        assert seconds == pytest.approx(SPEEDS[part], rel=1e-6), part


async def test_an_adaptive_sampler_teaches_no_time_per_evaluation(tmp_path):
    times, machine = times_in(tmp_path), Machine()
    await rendered(times, machine, replace(SMALL, sampler="dpm_adaptive"))
    assert Part.STILL_EVALUATION not in times.times().parts
    assert Part.CLIP_EVALUATION in times.times().parts


async def test_a_pipeline_without_known_parts_is_reckoned_by_its_whole_jobs(tmp_path):
    times = times_in(tmp_path, Rig("fake", "none", None))
    for taken_s in (3.0, 5.0, 100.0):
        await times.learn(times.run(SMALL), taken_s, "fake")
    assert times.estimate(LARGE).expected_s == 5.0
