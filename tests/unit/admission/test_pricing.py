"""Prices by the second and of single modules, and the settings they come from."""

import pytest

from node.admission.pricing import GpuTimes, gpu_times, own_prices, price_list, standing_terms, terms_of
from node.admission.work import Part
from node.config import load
from node.errors import Misconfigured
from node.job.terms import price_wei
from tests.fakes.jobs import TOKEN, make_config, make_spec
from tests.fakes.rendering import SIZES, SPEEDS

NEWEST, OLD = "sdv-pipeline:v1.1-lilypad2", "sdv-pipeline:v1.0-lilypad2"
GPU = GpuTimes(job_us=1_500_000, still_evaluation_us=20_000, clip_evaluation_us=400_000)
FREE = {"floor": "0", "per_job": "0"}


def test_an_evaluation_costs_its_seconds_and_the_rest_of_a_job_its_own():
    prices = price_list(make_config(pricing={**FREE, "per_gpu_second": "0.01"}).pricing, GPU)
    assert prices.video_step_weight == 20
    assert prices.per_step_wei * prices.video_step_weight == TOKEN * 4 // 1000
    spec = make_spec("Steps=50", "VideoSteps=50", "Sampler=euler", "VideoSampler=euler")
    assert price_wei(spec, prices) == TOKEN // 100 * (15 + 10 + 200) // 10
    twice = make_spec("Steps=50", "VideoSteps=50", "Sampler=euler", "VideoSampler=heun")
    assert price_wei(twice, prices) == TOKEN // 100 * (15 + 10 + 396) // 10


def test_the_seconds_are_those_of_the_gpu_without_what_the_processor_does():
    found = gpu_times(SPEEDS, SIZES, initial_s=600.0)
    still, clip = 1024 * 1024 / 1e6, 25 * 1024 * 576 / 1e6
    once = (
        SPEEDS[Part.STILL_START]
        + SPEEDS[Part.CLIP_START]
        + SPEEDS[Part.STILL_DECODE] * still
        + SPEEDS[Part.CLIP_DECODE] * clip
    )
    assert found.job_us == round(once * 1e6)
    assert found.still_evaluation_us == round(SPEEDS[Part.STILL_EVALUATION] * still * 1e6)
    assert found.clip_evaluation_us == round(SPEEDS[Part.CLIP_EVALUATION] * clip * 1e6)


def test_while_nothing_is_measured_every_job_costs_the_time_in_the_settings():
    gpu = gpu_times({}, SIZES, initial_s=600.0)
    prices = price_list(make_config(pricing={**FREE, "per_gpu_second": "0.01"}).pricing, gpu)
    assert price_wei(make_spec("Steps=5"), prices) == price_wei(make_spec("Steps=200"), prices) == 6 * TOKEN


def test_a_price_by_the_second_is_never_made_up_without_times():
    with pytest.raises(ValueError, match="times of this GPU"):
        price_list(make_config(pricing={"per_gpu_second": "1"}).pricing)


def test_a_module_with_prices_of_its_own_costs_them_and_the_rest_as_all_others():
    config = make_config(pricing={"per_job": "1", "modules": {OLD: {"per_job": "3"}}})
    standing = standing_terms(config.pricing, config.deal)
    own = own_prices(config.pricing)
    assert own.keys() == {OLD}
    assert price_wei(make_spec(), terms_of(NEWEST, standing, own).prices) == TOKEN
    dearer = terms_of(OLD, standing, own)
    assert price_wei(make_spec(), dearer.prices) == 3 * TOKEN
    assert dearer.prices.floor_wei == config.pricing.floor
    assert dearer.submit_timeout_s == standing.submit_timeout_s


def test_a_module_may_be_priced_by_the_second_where_others_are_by_the_step():
    config = make_config(
        pricing={"per_step": "0.1", "modules": {OLD: {"per_step": "0", "per_gpu_second": "0.01"}}}
    )
    assert own_prices(config.pricing, GPU)[OLD].video_step_weight == 20
    assert price_list(config.pricing, GPU).video_step_weight == config.pricing.video_step_weight


def test_prices_that_are_repeated_are_not_of_a_modules_own():
    config = make_config(pricing={"per_job": "2", "modules": {OLD: {"per_job": "2"}}})
    assert own_prices(config.pricing) == {}


@pytest.mark.parametrize(
    ("pricing", "told"),
    [
        ({"per_gpu_second": "-1"}, "pricing.per_gpu_second: an amount lies between"),
        ({"per_gpu_second": "1", "per_step": "1"}, "pricing: per_step and per_gpu_second both charge"),
        ({"modules": {OLD: {"per_hour": "1"}}}, f"pricing.modules.{OLD}.per_hour: there is no such setting"),
        ({"modules": {OLD: {"floor": "x"}}}, f"pricing.modules.{OLD}.floor: 'x' is not an amount"),
        (
            {"per_step": "1", "modules": {OLD: {"per_gpu_second": "1"}}},
            f"modules.'{OLD}': per_step and per_gpu_second both charge",
        ),
        ({"modules": {"sdv-pipeline:v9": {}}}, "'sdv-pipeline:v9' is not in market.modules, which has"),
        ({"modules": "all"}, "pricing.modules"),
    ],
)
def test_wrong_prices_are_refused_when_settings_are_read_and_tell_who_set_them(tmp_path, pricing, told):
    with pytest.raises(Misconfigured) as refused:
        make_config(pricing=pricing)
    assert told in str(refused.value)
    assert "(set by --set pricing." in str(refused.value)


def test_a_wrong_setting_tells_its_file_or_its_variable(tmp_path):
    file = tmp_path / "node.toml"
    file.write_text('[pricing]\nper_gpu_second = "much"\n[chain]\nchain_id = -1\n')
    with pytest.raises(Misconfigured, match=rf"per_gpu_second: .* \(set by {file}:2\)"):
        load(file, environment={})
    with pytest.raises(Misconfigured) as refused:
        load(file, environment={"SDV_NODE__CHAIN__CHAIN_ID": "-2"})
    assert "(set by SDV_NODE__CHAIN__CHAIN_ID)" in str(refused.value)
