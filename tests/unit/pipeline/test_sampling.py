"""Noise levels, schedules, noise streams and the ancestral sampler, against numbers worked out elsewhere."""

import math

import pytest
import torch

from node.errors import JobFailed
from node.job.spec import AVAILABLE_SAMPLERS, AVAILABLE_SCHEDULERS, SCHEDULERS
from node.pipeline import samplers, schedules
from node.pipeline.noise import Noise, posterior_noise
from node.pipeline.sampling import SDXL, SVD


def exact_sdxl_sigmas():
    """The scaled-linear table in plain Python floats."""
    alpha, table = 1.0, []
    first, last = math.sqrt(0.00085), math.sqrt(0.012)
    for index in range(1000):
        alpha *= 1.0 - (first + (last - first) * index / 999) ** 2
        table.append(math.sqrt((1.0 - alpha) / alpha))
    return table


def test_what_a_job_may_ask_for_is_what_is_implemented():
    assert set(AVAILABLE_SAMPLERS) == set(samplers.IMPLEMENTED)
    assert set(AVAILABLE_SCHEDULERS) <= set(schedules.IMPLEMENTED) == set(SCHEDULERS)


def test_the_sdxl_table_runs_from_0_029_to_14_6():
    assert SDXL.sigmas.dtype == torch.float32
    assert float(SDXL.sigmas[0]) == pytest.approx(0.02916716, abs=1e-8)
    assert float(SDXL.sigmas[-1]) == pytest.approx(14.614641, abs=1e-6)
    assert SDXL.sigmas.tolist() == pytest.approx(exact_sdxl_sigmas(), rel=1e-6)


def test_the_svd_table_runs_from_0_002_to_700():
    assert float(SVD.sigmas[0]) == pytest.approx(0.0019999999, abs=1e-10)
    assert float(SVD.sigmas[-1]) == pytest.approx(699.99994, rel=1e-6)
    assert float(SVD.sigmas[500]) == pytest.approx(0.002 * (700 / 0.002) ** (500 / 999), rel=1e-5)


def test_sdxl_timesteps_are_the_nearest_index_in_log_space():
    levels = SDXL.sigmas[[0, 1, 500, 999]]
    assert SDXL.timestep(levels).tolist() == [0.0, 1.0, 500.0, 999.0]
    geometric_middle = math.sqrt(float(SDXL.sigmas[10]) * float(SDXL.sigmas[11]))
    assert float(SDXL.timestep(torch.tensor(geometric_middle * 1.0001))) == 11.0
    assert float(SDXL.timestep(torch.tensor(geometric_middle * 0.9999))) == 10.0
    assert float(SDXL.timestep(torch.tensor(1000.0))) == 999.0


def test_sdxl_levels_between_timesteps_are_interpolated_in_log_space():
    expected = math.exp(0.75 * math.log(SDXL.sigmas[10]) + 0.25 * math.log(SDXL.sigmas[11]))
    assert float(SDXL.sigma(torch.tensor(10.25))) == pytest.approx(expected, rel=1e-6)
    assert float(SDXL.sigma(torch.tensor(2000.0))) == pytest.approx(float(SDXL.sigmas[999]), rel=1e-6)


def test_svd_time_is_a_quarter_of_the_logarithm():
    assert float(SVD.timestep(torch.tensor(math.e**2))) == pytest.approx(0.5, rel=1e-6)
    assert float(SVD.sigma(torch.tensor(0.5))) == pytest.approx(math.e**2, rel=1e-6)


def test_sdxl_predicts_noise_and_svd_predicts_v():
    x, output = torch.full((2, 1, 1, 1), 3.0), torch.full((2, 1, 1, 1), 0.5)
    sigma = torch.tensor([2.0, 4.0])
    assert SDXL.denoised(x, output, sigma).flatten().tolist() == pytest.approx([2.0, 1.0])
    by_hand = [3 / (1 + s * s) - 0.5 * s / math.sqrt(1 + s * s) for s in (2.0, 4.0)]
    assert SVD.denoised(x, output, sigma).flatten().tolist() == pytest.approx(by_hand)
    for sampling in (SDXL, SVD):
        shown = sampling.scale_input(x, sigma).flatten().tolist()
        assert shown == pytest.approx([3 / math.sqrt(5), 3 / math.sqrt(17)])


def test_initial_latents_have_the_variance_of_noise_and_picture_only_at_the_top():
    noise = torch.ones(1, 4, 2, 2)
    top = SDXL.start(noise, torch.tensor([14.614641, 0.0]))
    assert float(top[0, 0, 0, 0]) == pytest.approx(math.sqrt(1 + 14.614641**2), rel=1e-6)
    below = SDXL.start(noise, torch.tensor([13.9, 0.0]))
    assert float(below[0, 0, 0, 0]) == pytest.approx(13.9, rel=1e-6)
    assert float(SVD.start(noise, torch.tensor([700.0, 0.0]))[0, 0, 0, 0]) == pytest.approx(
        math.sqrt(1 + 700.0**2), rel=1e-6
    )


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("sampling", [SDXL, SVD], ids=["sdxl", "svd"])
def test_every_schedule_falls_to_zero_in_float32(scheduler, sampling):
    levels = schedules.sigmas(scheduler, 20, sampling, "euler")
    assert levels.dtype == torch.float32
    assert len(levels) == 21
    assert float(levels[-1]) == 0.0
    assert bool((levels[:-1] > levels[1:]).all())


def test_normal_is_even_in_time():
    levels = schedules.sigmas("normal", 10, SDXL, "euler").tolist()
    assert levels[0] == pytest.approx(14.614641, rel=1e-6)
    assert levels[-2] == pytest.approx(0.02916716, rel=1e-6)
    # 10 points from 999 to 0 lie 111 apart, so all of them are table entries.
    assert levels[:-1] == pytest.approx([float(SDXL.sigmas[999 - 111 * i]) for i in range(10)], rel=1e-5)
    assert schedules.sigmas("normal", 10, SVD, "euler").tolist() == pytest.approx(
        schedules.sigmas("exponential", 10, SVD, "euler").tolist(), rel=1e-5
    )


def test_karras_interpolates_seventh_roots():
    levels = schedules.sigmas("karras", 5, SDXL, "euler").tolist()
    high, low = 14.614641 ** (1 / 7), 0.02916716 ** (1 / 7)
    assert levels == pytest.approx([(high + i / 4 * (low - high)) ** 7 for i in range(5)] + [0.0], rel=1e-5)


def test_exponential_is_even_in_the_logarithm():
    levels = schedules.sigmas("exponential", 3, SDXL, "euler").tolist()
    assert levels[1] == pytest.approx(math.sqrt(14.614641 * 0.02916716), rel=1e-5)


def test_simple_sgm_uniform_and_ddim_uniform_end_above_the_smallest_level():
    assert float(schedules.sigmas("simple", 5, SDXL, "euler")[-2]) == pytest.approx(0.569, abs=5e-4)
    assert float(schedules.sigmas("sgm_uniform", 5, SDXL, "euler")[-2]) == pytest.approx(0.571, abs=5e-4)
    ddim = schedules.sigmas("ddim_uniform", 50, SDXL, "euler")
    assert float(ddim[-2]) == float(SDXL.sigmas[1])
    assert float(ddim[0]) == float(SDXL.sigmas[981])


@pytest.mark.parametrize(("asked", "given"), [(5, 5), (17, 18), (50, 50), (70, 72), (150, 167)])
def test_ddim_uniform_may_give_more_steps_than_asked(asked, given):
    assert len(schedules.sigmas("ddim_uniform", asked, SDXL, "euler")) == given + 1


def test_the_dpm_2_family_spends_one_more_level_and_leaves_out_the_last():
    plain = schedules.sigmas("karras", 11, SDXL, "euler")
    assert schedules.sigmas("karras", 10, SDXL, "dpm_2").tolist() == [*plain[:-2].tolist(), 0.0]


def test_unknown_names_are_refused_and_never_replaced():
    with pytest.raises(JobFailed, match="karras"):
        schedules.sigmas("magic", 10, SDXL, "euler")
    with pytest.raises(JobFailed, match="euler_ancestral"):
        samplers.sample("magic", None, torch.zeros(1), torch.ones(2), Noise(0))


def test_step_noise_continues_the_stream_of_the_initial_noise():
    generator = torch.Generator().manual_seed(7)
    first, second = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
    noise = Noise(7)
    assert torch.equal(noise.initial((2, 4, 8, 8)), first)
    assert torch.equal(noise.like(torch.zeros(2, 4, 8, 8)), second)


def test_the_first_image_starts_from_the_same_noise_in_every_batch():
    assert torch.equal(Noise(3).initial((4, 4, 32, 32))[0], Noise(3).initial((1, 4, 32, 32))[0])


def test_every_seed_up_to_64_bits_is_taken_and_the_low_32_decide():
    assert torch.equal(Noise(2**64 - 1).initial((4,)), Noise(2**32 - 1).initial((4,)))


def test_posterior_noise_steps_over_latents_and_position_table():
    generator = torch.Generator().manual_seed(9)
    torch.randn(2, 4, 32, 32, generator=generator)
    torch.randn(257, 32, generator=generator)
    expected = torch.randn(2, 4, 10, 16, generator=generator)
    assert torch.equal(posterior_noise(9, (2, 4, 32, 32), (257, 32), (2, 4, 10, 16)), expected)


class CountedNoise:
    """Constant step noise that remembers how often it was drawn."""

    def __init__(self):
        self.draws = 0

    def like(self, x):
        self.draws += 1
        return torch.full_like(x, float(self.draws))


def test_the_ancestral_split_conserves_variance():
    down, up = samplers.ancestral_split(torch.tensor(4.0), torch.tensor(2.0))
    assert float(up) == pytest.approx(math.sqrt(4 * (16 - 4) / 16))
    assert float(down) == pytest.approx(1.0)
    assert [float(part) for part in samplers.ancestral_split(torch.tensor(4.0), torch.tensor(0.0))] == [0, 0]


def test_euler_ancestral_step_by_step():
    seen, reported = [], []

    def denoise(x, sigma):
        seen.append((tuple(sigma.shape), float(sigma[0])))
        return torch.full_like(x, 0.5)

    noise = CountedNoise()
    result = samplers.sample(
        "euler_ancestral",
        denoise,
        torch.full((2, 1), 8.5),
        torch.tensor([4.0, 2.0, 0.0]),
        noise,
        lambda done, steps: reported.append((done, steps)),
    )
    # First step: slope 2, down to 1, up sqrt(3); the last step lands on the denoised picture without noise.
    assert seen == [((2,), 4.0), ((2,), 2.0)]
    assert noise.draws == 1
    assert reported == [(1, 2), (2, 2)]
    assert result.flatten().tolist() == pytest.approx([0.5, 0.5])


def test_the_middle_of_euler_ancestral_is_slope_and_noise():
    values = []

    def denoise(x, sigma):
        values.append(float(x[0, 0]))
        return torch.full_like(x, 0.5)

    samplers.sample(
        "euler_ancestral", denoise, torch.full((1, 1), 8.5), torch.tensor([4.0, 2.0, 0.0]), CountedNoise()
    )
    assert values == pytest.approx([8.5, 8.5 + 2 * (1 - 4) + math.sqrt(3)])
