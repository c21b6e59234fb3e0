"""The six schedules in both spaces, against numbers worked out in float64 without torch."""

import math

import numpy as np
import pytest
import torch

from node.errors import JobFailed
from node.job.spec import SCHEDULERS
from node.pipeline import schedules
from node.pipeline.sampling import SDXL, SVD

SPACES = {"sdxl": SDXL, "svd": SVD}
STEPS = (5, 17, 38, 50, 70, 200)


def sdxl_table():
    betas = np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000) ** 2
    alphas = np.cumprod(1 - betas)
    return np.sqrt((1 - alphas) / alphas)


def svd_table():
    return np.exp(np.linspace(math.log(0.002), math.log(700), 1000))


TABLES = {"sdxl": sdxl_table(), "svd": svd_table()}


def at_times(space, count):
    """Levels at ``count`` even times from the largest level to the smallest."""
    logs = np.log(TABLES[space])
    if space == "svd":
        return np.exp(4 * np.linspace(0.25 * logs[-1], 0.25 * logs[0], count))
    return np.exp(np.interp(np.linspace(999, 0, count), np.arange(1000), logs))


def expected(scheduler, n, space):
    table = TABLES[space]
    low, high = table[0], table[-1]
    if scheduler == "normal":
        return at_times(space, n)
    if scheduler == "sgm_uniform":
        return at_times(space, n + 1)[:-1]
    if scheduler == "karras":
        ramp = np.arange(n) / (n - 1)
        return (high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    if scheduler == "exponential":
        return np.exp(np.linspace(math.log(high), math.log(low), n))
    if scheduler == "simple":
        return np.array([table[999 - math.floor(i * (1000 / n))] for i in range(n)])
    indices = []
    at = 1
    while at < 1000:
        indices.append(at)
        at += max(1, 1000 // n)
    return table[indices[::-1]]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("space", SPACES)
def test_a_schedule_has_the_levels_of_its_formula(space, scheduler, steps):
    result = schedules.sigmas(scheduler, steps, SPACES[space], "euler")
    assert result.dtype == torch.float32
    assert result.device.type == "cpu"
    assert float(result[-1]) == 0.0
    levels = expected(scheduler, steps, space)
    assert result[:-1].tolist() == pytest.approx(levels.tolist(), rel=4e-6)
    assert bool((result[:-1] > result[1:]).all())


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("sampler", ["dpm_2", "dpm_2_ancestral"])
def test_the_dpm_2_family_asks_for_one_level_more_and_leaves_out_the_last(sampler, space, scheduler, steps):
    result = schedules.sigmas(scheduler, steps, SPACES[space], sampler)
    longer = schedules.sigmas(scheduler, steps + 1, SPACES[space], "euler")
    assert result.tolist() == [*longer[:-2].tolist(), 0.0]
    if scheduler != "ddim_uniform":
        assert len(result) == steps + 1


@pytest.mark.parametrize(
    ("asked", "given"), [(5, 5), (17, 18), (50, 50), (70, 72), (150, 167), (200, 200), (6, 7), (199, 200)]
)
@pytest.mark.parametrize("space", SPACES)
def test_ddim_uniform_may_give_more_steps_than_asked(space, asked, given):
    levels = schedules.sigmas("ddim_uniform", asked, SPACES[space], "euler")
    assert len(levels) == given + 1
    assert float(levels[-2]) == float(SPACES[space].sigmas[1])


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_only_ddim_uniform_starts_below_the_top_and_so_takes_the_other_start(scheduler, space):
    noise = torch.ones(1)
    for steps in range(5, 201):
        levels = schedules.sigmas(scheduler, steps, space, "euler")
        first = float(levels[0])
        expected_start = first if scheduler == "ddim_uniform" else math.sqrt(1 + first**2)
        assert float(space.start(noise, levels)) == pytest.approx(expected_start, rel=1.2e-7)


def test_simple_floors_the_product_of_floating_numbers():
    # 19 * (1000 / 38) is 499.99999999999994 in double, so its floor is 499 where the quotient is 500.
    assert float(schedules.sigmas("simple", 38, SDXL, "euler")[19]) == float(SDXL.sigmas[999 - 499])


def test_three_schedules_run_from_end_to_end_of_the_models_range():
    for scheduler in ("normal", "karras", "exponential"):
        sdxl = schedules.sigmas(scheduler, 20, SDXL, "euler")
        assert float(sdxl[0]) == pytest.approx(14.614641, rel=2e-6)
        assert float(sdxl[-2]) == pytest.approx(0.02916716, rel=2e-6)
        svd = schedules.sigmas(scheduler, 20, SVD, "euler")
        assert float(svd[0]) == pytest.approx(699.99994, rel=2e-6)
        assert float(svd[-2]) == pytest.approx(0.0019999999, rel=2e-6)


def test_karras_takes_seventh_roots_in_double_and_walks_between_them_in_float32():
    low, high = float(SVD.sigmas[0]) ** (1 / 7), float(SVD.sigmas[-1]) ** (1 / 7)
    ramp = np.linspace(0, 1, 5, dtype=np.float32)
    by_hand = (np.float32(high) + ramp * np.float32(low - high)) ** np.float32(7)
    result = schedules.sigmas("karras", 5, SVD, "euler")[:-1].tolist()
    assert result == pytest.approx(by_hand.astype(np.float64).tolist(), rel=3e-7)


def test_svds_normal_schedule_is_its_exponential_one():
    for steps in STEPS:
        normal, exponential = (
            schedules.sigmas(name, steps, SVD, "euler").tolist() for name in ("normal", "exponential")
        )
        assert normal == pytest.approx(exponential, rel=4e-6)


def test_simple_and_sgm_uniform_end_far_above_the_smallest_level():
    assert float(schedules.sigmas("simple", 5, SDXL, "euler")[-2]) == pytest.approx(0.569, abs=5e-4)
    assert float(schedules.sigmas("sgm_uniform", 5, SDXL, "euler")[-2]) == pytest.approx(0.571, abs=5e-4)


@pytest.mark.parametrize("steps", [1, 999])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_fewest_and_the_most_steps_still_fall_to_zero(scheduler, steps):
    for sampler in ("euler", "dpm_2"):
        levels = schedules.sigmas(scheduler, steps, SDXL, sampler)
        assert bool((levels[:-1] > levels[1:]).all())
        assert float(levels[-1]) == 0.0


@pytest.mark.parametrize("steps", [0, -1, 1000])
def test_a_number_of_steps_that_no_table_has_is_refused(steps):
    with pytest.raises(JobFailed, match="1 to 999"):
        schedules.sigmas("normal", steps, SDXL, "euler")


def test_an_unknown_scheduler_is_refused_with_the_known_ones():
    with pytest.raises(JobFailed) as caught:
        schedules.sigmas("magic", 10, SDXL, "euler")
    assert all(name in str(caught.value) for name in SCHEDULERS)
    assert set(SCHEDULERS) == set(schedules.IMPLEMENTED)
