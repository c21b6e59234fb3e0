"""Estimates of any job on any measured machine: never negative, bounded, and growing with what is asked."""

import math
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from node.admission.estimate import LONGEST_S, MOST_MARGIN, UnitTimes, estimate, free_in_s
from node.admission.pricing import GpuTimes, own_prices, price_list
from node.admission.run_times import Run
from node.admission.work import Part, Sizes
from node.job.evaluations import evaluations
from node.job.progress import Progress
from node.job.terms import price_wei
from node.job.tunables import SAMPLERS, SCHEDULERS
from tests.fakes.jobs import make_config, make_spec

SPECS = st.builds(
    lambda steps, video_steps, batching, frames, **chosen: replace(
        make_spec(), steps=steps, video_steps=video_steps, batching=batching, frames=frames, **chosen
    ),
    steps=st.integers(5, 200),
    video_steps=st.integers(5, 70),
    batching=st.sampled_from((1, 2, 4, 8)),
    frames=st.sampled_from(("none", "png")),
    sampler=st.sampled_from(SAMPLERS),
    video_sampler=st.sampled_from(SAMPLERS),
    scheduler=st.sampled_from(SCHEDULERS),
    video_scheduler=st.sampled_from(SCHEDULERS),
)
SIZES = st.builds(Sizes, st.integers(4096, 2**24), st.integers(4096, 2**24), st.integers(2, 25))
SECONDS = st.floats(0, LONGEST_S)
MACHINES = st.builds(
    UnitTimes,
    parts=st.fixed_dictionaries(dict.fromkeys(Part, SECONDS)),
    ratios=st.lists(st.floats(1e-6, 1e6), max_size=15),
)
SLOWER = st.floats(1, 10)


def expected(spec, sizes, machine):
    return estimate(spec, sizes, machine, 600.0).expected_s


@given(SPECS, SIZES, MACHINES)
def test_an_estimate_is_a_bounded_time_and_its_bound_is_above_it(spec, sizes, machine):
    found = estimate(spec, sizes, machine, 600.0)
    assert 0 <= found.expected_s <= found.upper_s <= LONGEST_S
    assert found.upper_s <= max(MOST_MARGIN * found.expected_s * (1 + 1e-9), 0)


@given(SPECS, SIZES, MACHINES, st.integers(1, 190), st.integers(1, 65))
def test_more_steps_never_take_less_time(spec, sizes, machine, more, more_video):
    usual = expected(spec, sizes, machine)
    assume(spec.steps + more <= 200 and spec.video_steps + more_video <= 70)
    assert expected(replace(spec, steps=spec.steps + more), sizes, machine) >= usual * (1 - 1e-9)
    longer = replace(spec, video_steps=spec.video_steps + more_video)
    assert expected(longer, sizes, machine) >= usual * (1 - 1e-9)


@given(SPECS, SIZES, MACHINES)
def test_more_stills_and_frames_as_files_never_take_less_time(spec, sizes, machine):
    by_count = [expected(replace(spec, batching=count), sizes, machine) for count in (1, 2, 4, 8)]
    assert by_count == sorted(by_count)
    with_files, without = (expected(replace(spec, frames=kind), sizes, machine) for kind in ("png", "none"))
    assert with_files >= without


@given(SPECS, SIZES, MACHINES, st.integers(1, 16))
def test_larger_pictures_and_longer_clips_never_take_less_time(spec, sizes, machine, factor):
    usual = expected(spec, sizes, machine)
    for name in ("still_pixels", "frame_pixels", "frames"):
        larger = replace(sizes, **{name: getattr(sizes, name) * factor})
        assert expected(spec, larger, machine) >= usual * (1 - 1e-9)


@given(SPECS, SIZES, MACHINES, st.sampled_from(tuple(Part)), SLOWER)
def test_a_slower_part_never_makes_a_job_quicker(spec, sizes, machine, part, slower):
    slow = replace(machine, parts={**machine.parts, part: machine.parts[part] * slower})
    assert expected(spec, sizes, slow) >= expected(spec, sizes, machine) * (1 - 1e-9)


@given(st.lists(SECONDS, max_size=40), st.integers(1, 16))
def test_a_line_is_bounded_by_its_sum_and_more_workers_never_make_it_longer(ahead_s, slots):
    waiting_s = free_in_s(ahead_s, slots)
    assert 0 <= waiting_s <= sum(ahead_s) * (1 + 1e-9)
    assert waiting_s >= (sum(ahead_s) - (slots - 1) * max(ahead_s, default=0)) / slots - 1e-6 * sum(ahead_s)
    assert free_in_s([*ahead_s, 1.0], slots) >= waiting_s
    if len(ahead_s) < slots:
        assert waiting_s == 0


@given(
    SPECS,
    SIZES,
    MACHINES,
    st.lists(
        st.builds(
            Progress,
            st.sampled_from(("still", "still decode", "clip", "clip decode", "encode", "another")),
            st.integers(0, 1000),
            st.integers(0, 1000),
            st.floats(0, 1),
        ),
        max_size=30,
    ),
    st.lists(st.floats(0, 1e6), min_size=30, max_size=30),
)
def test_whatever_a_worker_reports_the_time_left_is_a_bounded_time(spec, sizes, machine, reports, pauses):
    run = Run(spec, sizes, estimate(spec, sizes, machine, 600.0), machine)
    now = 0.0
    for progress, pause in zip(reports, pauses, strict=False):
        now += pause
        run.told(progress, now)
        assert 0 <= run.eta.left_s(now) < math.inf
    run.ended(now)
    samples = run.stages.samples()
    assert all(seconds >= 0 and math.isfinite(seconds) for found in samples.values() for seconds in found)


@given(
    SPECS,
    st.builds(GpuTimes, *(st.integers(0, 10**12) for _ in range(3))),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_a_price_by_the_second_is_its_formula_to_the_wei(spec, gpu, per_second, per_job, floor):
    pricing = make_config(
        pricing={"per_gpu_second": str(per_second), "per_job": str(per_job), "floor": str(floor)}
    ).pricing
    if per_second == 0:
        return
    wei = 10**18
    weight = min(max(round(gpu.clip_evaluation_us / max(1, gpu.still_evaluation_us)), 1), 1000)
    step = per_second * wei * gpu.clip_evaluation_us // (1_000_000 * weight)
    job = per_job * wei + per_second * wei * gpu.job_us // 1_000_000
    still = evaluations(spec.scheduler, spec.sampler, spec.steps)
    clip = evaluations(spec.video_scheduler, spec.video_sampler, spec.video_steps)
    asked = (job + step * (still + weight * clip)) * spec.batching
    assert price_wei(spec, price_list(pricing, gpu)) == max(asked, floor * wei)
    assert own_prices(pricing, gpu) == {}
