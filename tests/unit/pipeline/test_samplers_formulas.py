"""The samplers that no oracle has, against their formulas worked out again in numpy."""

import itertools

import numpy as np
import pytest
import torch

from node.pipeline import samplers, schedules
from node.pipeline.noise import Noise
from node.pipeline.sampling import SDXL, SVD
from tests.oracles import denoisers
from tests.oracles.watched import WatchedNoise

pytestmark = pytest.mark.usefixtures("one_thread")


def heunpp2_by_hand(denoise, x, sigmas):
    """The rule in plain numpy; the divisor is the first level of the whole list."""
    count, first = len(sigmas) - 1, sigmas[0]
    for i in range(count):
        s, t = sigmas[i], sigmas[i + 1]
        d1 = (x - denoise(x, s)) / s
        if i == count - 1:
            x = x + d1 * (t - s)
            continue
        x2 = x + d1 * (t - s)
        d2 = (x2 - denoise(x2, t)) / t
        if i == count - 2:
            w = (1 - t / (2 * first), t / (2 * first), 0.0)
            d3 = 0.0
        else:
            u = sigmas[i + 2]
            x3 = x2 + d2 * (u - t)
            d3 = (x3 - denoise(x3, u)) / u
            w = (1 - (t + u) / (3 * first), t / (3 * first), u / (3 * first))
        x = x + (w[0] * d1 + w[1] * d2 + w[2] * d3) * (t - s)
    return x


def ddpm_by_hand(denoise, x, sigmas, draws, one=np.float64):
    """The rule in plain numpy, in the precision of ``one``."""
    x, sigmas, draws = x.astype(one), sigmas.astype(one), iter(draws)
    for s, t in itertools.pairwise(sigmas):
        bar, bar_next = one(1) / (s * s + one(1)), one(1) / (t * t + one(1))
        a = bar / bar_next
        e = (x - denoise(x, s).astype(one)) / s
        u = x / np.sqrt(one(1) + s * s)
        mu = np.sqrt(one(1) / a) * (u - (one(1) - a) * e / np.sqrt(one(1) - bar))
        if t > 0:
            mu = mu + np.sqrt((one(1) - a) * (one(1) - bar_next) / (one(1) - bar)) * next(draws).astype(one)
            mu = mu * np.sqrt(one(1) + t * t)
        x = mu
    return x


def lcm_by_hand(denoise, x, sigmas, draws):
    for s, t, z in zip(sigmas[:-1], sigmas[1:], [*draws, 0.0], strict=True):
        x = denoise(x, s) + t * z
    return x


def in_numpy(denoise):
    def answer(x, sigma):
        rows = torch.full((len(x),), float(sigma), dtype=torch.from_numpy(x).dtype)
        return denoise(torch.from_numpy(x), rows).numpy()

    return answer


def distance(result, expected):
    result = result.double().numpy()
    return float(np.linalg.norm(result - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("scheduler", schedules.IMPLEMENTED)
@pytest.mark.parametrize("space", [SDXL, SVD], ids=["sdxl", "svd"])
@pytest.mark.parametrize("denoise", denoisers.ALL.values(), ids=denoisers.ALL)
def test_the_samplers_without_an_oracle_agree_with_their_formulas(denoise, space, scheduler):
    for steps in (5, 17):
        sigmas = schedules.sigmas(scheduler, steps, space, "lcm")
        exact = sigmas.double().numpy()
        x = space.start(Noise(4).initial((2, 4, 6, 6)), sigmas)
        wide = x.double().numpy()

        result = samplers.sample("heunpp2", denoise, x, sigmas, Noise(4))
        assert distance(result, heunpp2_by_hand(in_numpy(denoise), wide, exact)) < 1e-5

        noise = WatchedNoise()
        result = samplers.sample("lcm", denoise, x, sigmas, noise)
        draws = [one.numpy() for one in noise.drawn]
        assert distance(result, lcm_by_hand(in_numpy(denoise), wide, exact, draws)) < 1e-5

        noise = WatchedNoise()
        result = samplers.sample("ddpm", denoise, x, sigmas, noise)
        draws = [one.numpy() for one in noise.drawn]
        # At level 0.002 the number 1 - alpha_bar is 67 float32 steps wide, so in SVD's range a reference in
        # float64 is 2e-3 away for reasons of the formula itself; the same formula in float32 is not.
        in_float32 = ddpm_by_hand(in_numpy(denoise), x.numpy(), sigmas.numpy(), draws, np.float32)
        assert distance(result, in_float32) < 1e-5


@pytest.mark.parametrize("space", [SDXL, SVD], ids=["sdxl", "svd"])
@pytest.mark.parametrize("denoise", denoisers.ALL.values(), ids=denoisers.ALL)
def test_ddpm_is_euler_ancestral_in_exact_arithmetic(denoise, space):
    sigmas = schedules.sigmas("karras", 17, space, "ddpm").double()
    x = space.start(Noise(4).initial((2, 4, 6, 6)), sigmas).double()
    noise = WatchedNoise()
    result = samplers.sample("ddpm", denoise, x, sigmas, noise)
    other = samplers.sample("euler_ancestral", denoise, x, sigmas, WatchedNoise())
    assert distance(result, other.numpy()) < 1e-9
    by_hand = ddpm_by_hand(in_numpy(denoise), x.numpy(), sigmas.numpy(), [one.numpy() for one in noise.drawn])
    assert distance(result, by_hand) < 1e-9


def test_ddpm_in_float32_loses_digits_only_in_the_range_of_svd():
    for space, bound in ((SDXL, 1e-4), (SVD, 1e-2)):
        sigmas = schedules.sigmas("karras", 17, space, "ddpm")
        x = space.start(Noise(4).initial((2, 4, 6, 6)), sigmas)
        narrow = samplers.sample("ddpm", denoisers.gaussian, x, sigmas, WatchedNoise())
        wide = samplers.sample("ddpm", denoisers.gaussian, x.double(), sigmas.double(), WatchedNoise())
        assert distance(narrow, wide.numpy()) < bound
