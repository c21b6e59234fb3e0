"""Every sampler that k-diffusion has, against k-diffusion: same list, same denoiser, same noise, float32."""

import warnings

import numpy as np
import pytest
import torch

from node.job.spec import SAMPLERS
from node.job.tunables import SAME_AS
from node.pipeline import samplers, schedules
from node.pipeline.noise import Noise
from node.pipeline.sampling import SDXL, SVD
from tests.oracles import denoisers, k_diffusion

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (2, 4, 6, 6)
BOUND = 1e-5
SPACES = {"sdxl": SDXL, "svd": SVD}
WITHOUT_NOISE = ("euler", "heun", "dpm_2", "lms", "dpm_fast", "dpm_adaptive", "dpmpp_2m")
ANCESTRAL = ("euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral")
BROWNIAN = ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde")


@pytest.fixture(scope="module")
def oracle():
    module = k_diffusion.load()
    weight = module.linear_multistep_coeff
    # With numpy 2 a Python float beside a float32 scalar becomes float32, so the oracle would integrate its
    # weights in float32 and be 2e-4 away at 200 steps; the reference ran where such products are float64.
    module.linear_multistep_coeff = lambda order, t, i, j: weight(order, t.astype(np.float64), i, j)
    return module


def of_oracle(oracle, name, denoise, x, sigmas, noise):
    function = getattr(oracle, f"sample_{name}")
    if name == "dpm_fast":
        return function(denoise, x, float(sigmas[-2]), float(sigmas[0]), len(sigmas) - 1, disable=True)
    if name == "dpm_adaptive":
        return function(denoise, x, float(sigmas[-2]), float(sigmas[0]), disable=True)
    if name in ANCESTRAL:
        return function(denoise, x, sigmas, disable=True, noise_sampler=lambda _a, _b: noise.like(x))
    if name in BROWNIAN:
        tree = oracle.BrownianTreeNoiseSampler(x, sigmas[-2], sigmas[0], seed=noise.seed)
        return function(denoise, x, sigmas, disable=True, noise_sampler=tree)
    return function(denoise, x, sigmas, disable=True)


def worst_error(oracle, name, scheduler, step_counts, chosen=tuple(denoisers.ALL)):
    worst = 0.0
    for space in SPACES.values():
        for steps in step_counts:
            sigmas = schedules.sigmas(scheduler, steps, space, name)
            for denoiser in chosen:
                ours, theirs = Noise(2**40 + 7), Noise(2**40 + 7)
                x = space.start(ours.initial(SHAPE), sigmas)
                assert torch.equal(space.start(theirs.initial(SHAPE), sigmas), x)
                result = samplers.sample(name, denoisers.ALL[denoiser], x, sigmas, ours)
                with warnings.catch_warnings():
                    warnings.filterwarnings(
                        "ignore", message="Should have t[ab]"
                    )  # queries at the rounded ends
                    expected = of_oracle(oracle, name, denoisers.ALL[denoiser], x, sigmas, theirs)
                error = float((result - expected).norm() / expected.norm())
                assert error == error, (name, scheduler, steps, denoiser)
                worst = max(worst, error)
    return worst


@pytest.mark.parametrize("scheduler", schedules.IMPLEMENTED)
@pytest.mark.parametrize("name", [*WITHOUT_NOISE, *ANCESTRAL])
def test_a_sampler_agrees_with_k_diffusion_on_every_schedule(oracle, name, scheduler):
    assert worst_error(oracle, name, scheduler, (5, 17)) < BOUND


@pytest.mark.parametrize("name", [*WITHOUT_NOISE, *ANCESTRAL])
def test_a_sampler_agrees_with_k_diffusion_over_many_steps(oracle, name):
    assert worst_error(oracle, name, "normal", (70,)) < BOUND
    assert worst_error(oracle, name, "exponential", (200,), ("gaussian",)) < BOUND


@pytest.mark.parametrize("scheduler", schedules.IMPLEMENTED)
@pytest.mark.parametrize("name", BROWNIAN)
def test_an_sde_sampler_agrees_with_k_diffusion_on_every_schedule(oracle, name, scheduler):
    assert worst_error(oracle, name, scheduler, (5,)) < BOUND


@pytest.mark.parametrize("name", BROWNIAN)
def test_an_sde_sampler_agrees_with_k_diffusion_over_many_steps(oracle, name):
    assert worst_error(oracle, name, "karras", (50,), ("convolving",)) < BOUND


@pytest.mark.parametrize(("name", "plain"), SAME_AS.items())
def test_a_gpu_name_gives_the_bits_of_the_plain_one(name, plain):
    sigmas = schedules.sigmas("karras", 5, SDXL, name)
    results = []
    for asked in (name, plain):
        noise = Noise(3)
        x = SDXL.start(noise.initial(SHAPE), sigmas)
        results.append(samplers.sample(asked, denoisers.saturating, x, sigmas, noise))
    assert torch.equal(*results)


def test_the_oracle_covers_all_samplers_but_three():
    covered = {*WITHOUT_NOISE, *ANCESTRAL, *BROWNIAN, *SAME_AS}
    assert set(SAMPLERS) - covered == {"heunpp2", "ddpm", "lcm"}
    assert set(samplers.IMPLEMENTED) == set(SAMPLERS)
