"""Prices by the second over restarts, and which modules can be hired on the published price list."""

import pytest

from node.admission.run_times import Rig, RunTimes
from node.admission.time_records import TimeRecords
from node.app.offering import Offering
from node.app.serving import Serving
from node.app.timing import prices_of, rig_of
from node.job.terms import price_wei
from node.pipeline.profiles import load_profile
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import MARKET, MEDIATOR, PROVIDER, TOKEN, make_config, make_spec
from tests.fakes.rendering import SIZES, SPEEDS, Machine

BY_SECOND = make_config(pricing={"floor": "0", "per_job": "0", "per_gpu_second": "0.01"})
TAGS = ("v1.1-lilypad2", "v1.1-lilypad1", "v1.0-lilypad2", "v1.0-lilypad1")


def start(directory):
    """Return the run times of a node that starts in ``directory``."""
    rig = Rig("sdv-1.1", "NVIDIA H200", SIZES)
    return RunTimes(rig, TimeRecords(directory), initial_s=600.0, clock=FakeClock())


async def render(times, slowness=1.0, count=1):
    for _ in range(count):
        machine = Machine({part: seconds * slowness for part, seconds in SPEEDS.items()})
        run = times.run(make_spec())
        taken_s = machine.play(make_spec(), run.told)
        run.ended(machine.now)
        await times.learn(run, taken_s, "c1")


def price(times):
    prices = prices_of(BY_SECOND, times, silence_has_remedy=True)
    return price_wei(make_spec(), prices.standing.prices)


async def test_prices_stay_while_times_move_little_and_follow_a_tenth(tmp_path):
    times = start(tmp_path)
    assert price(times) == 6 * TOKEN
    await render(times)
    first = price(start(tmp_path))
    assert 0 < first < TOKEN
    times = start(tmp_path)
    assert price(times) == first
    await render(times, slowness=1.08, count=15)
    assert price(start(tmp_path)) == first
    times = start(tmp_path)
    assert price(times) == first
    await render(times, slowness=1.2, count=15)
    assert price(start(tmp_path)) == pytest.approx(1.2 * first, rel=1e-5)


def offering(**pricing):
    config = make_config(
        market={"mediators": [MEDIATOR], "allow_toy_models": True},
        worker={"profile": "fake"},
        http={"public_url": "https://node.example"},
        pricing=pricing,
    )
    times = start(config.node.directory / "never written")
    return Offering(
        config=config,
        serving=Serving("fake", config.node.directory),
        place=MARKET,
        provider=PROVIDER,
        prices=prices_of(config, times, silence_has_remedy=True),
    )


def test_a_module_with_prices_of_its_own_is_not_offered_for_hire():
    usual = offering()
    assert usual.document(0, None).modules == TAGS
    dearer = offering(modules={"sdv-pipeline:v1.0-lilypad2": {"per_job": "7"}})
    assert dearer.problem() is None
    assert dearer.document(0, None).modules == tuple(tag for tag in TAGS if tag != "v1.0-lilypad2")


def test_where_every_module_has_its_own_prices_nothing_is_published_and_the_reason_told():
    modules = {f"sdv-pipeline:{tag}": {"per_job": "7"} for tag in TAGS}
    assert "an offer has one price list" in offering(modules=modules).problem()


def test_a_rig_is_a_profile_on_a_processor_or_a_gpu():
    tiny = rig_of("tiny")
    profile = load_profile("tiny")
    assert tiny.profile == "tiny"
    assert tiny.gpu.startswith("CPU ")
    assert (tiny.sizes.still_pixels, tiny.sizes.frames) == (profile.still_size**2, profile.frames)
    assert rig_of("fake:20").sizes is None
