"""The two models' noise levels, times, inputs and outputs, against numbers worked out elsewhere."""

import math

import pytest
import torch

from node.pipeline.sampling import SDXL, SVD


def exact_sdxl_sigmas():
    """The scaled-linear table in plain Python floats."""
    alpha, table = 1.0, []
    first, last = math.sqrt(0.00085), math.sqrt(0.012)
    for index in range(1000):
        alpha *= 1.0 - (first + (last - first) * index / 999) ** 2
        table.append(math.sqrt((1.0 - alpha) / alpha))
    return table


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


def test_every_sdxl_level_is_its_own_timestep_and_back():
    times = SDXL.timestep(SDXL.sigmas)
    assert times.dtype == torch.float32
    assert times.tolist() == list(range(1000))
    assert SDXL.sigma(times).tolist() == pytest.approx(SDXL.sigmas.tolist(), rel=1e-6)


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


def test_an_sdxl_timestep_is_the_first_of_the_levels_at_the_least_distance():
    logs = torch.log(SDXL.sigmas.double()).float()
    middles = (logs[1:] + logs[:-1]) / 2
    near = [middles]
    for bound in (-10.0, 10.0):
        value = middles
        for _ in range(5):
            value = torch.nextafter(value, torch.full_like(value, bound))
            near.append(value)
    sigmas = torch.cat([*(value.exp() for value in near), SDXL.sigmas, torch.linspace(1e-3, 20, 3001)])
    table = SDXL._log_sigmas
    searched = [(sigma.log()[:, None] - table).abs().argmin(dim=1) for sigma in sigmas.split(500)]
    assert torch.equal(SDXL.timestep(sigmas), torch.cat(searched).float())
