"""Random numbers: the stream of initial and step noise, Brownian paths, the noise of the image encoding."""

import itertools
import warnings

import numpy as np
import pytest
import torch
import torchsde

from node.errors import JobFailed
from node.pipeline import schedules
from node.pipeline.noise import Noise, posterior_noise
from node.pipeline.sampling import SDXL, SVD

SHAPE = (2, 4, 4, 4)
X = torch.zeros(SHAPE)
LARGEST = 2**64 - 1


def level(number):
    return torch.tensor(number, dtype=torch.float32)


def path(seed, x=X, low=0.03, high=14.6):
    return Noise(seed).brownian(x, level(low), level(high))


def test_step_noise_continues_the_stream_of_the_initial_noise():
    generator = torch.Generator().manual_seed(7)
    first, second = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
    noise = Noise(7)
    assert torch.equal(noise.initial((2, 4, 8, 8)), first)
    assert torch.equal(noise.like(torch.zeros(2, 4, 8, 8)), second)


def test_noise_neither_reads_nor_moves_the_global_generator():
    torch.manual_seed(1)
    expected = torch.randn(3)
    torch.manual_seed(1)
    noise = Noise(5)
    noise.initial(SHAPE)
    noise.like(X)
    noise.brownian(X, level(0.03), level(14.6))(level(2.0), level(1.0))
    assert torch.equal(torch.randn(3), expected)


def test_the_first_image_starts_from_the_same_noise_in_every_batch():
    assert torch.equal(Noise(3).initial((4, 4, 32, 32))[0], Noise(3).initial((1, 4, 32, 32))[0])


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1, 2**32, 2**63, LARGEST])
def test_the_low_32_bits_of_a_seed_decide_the_stream(seed):
    generator = torch.Generator().manual_seed(seed % 2**32)
    assert torch.equal(Noise(seed).initial((16,)), torch.randn(16, generator=generator))


def test_all_64_bits_of_a_seed_decide_a_brownian_path():
    draws = [path(seed)(level(2.0), level(1.0)) for seed in (5, 5 + 2**32, 5 + 2**63, LARGEST, 2**32 - 1)]
    for one, other in itertools.combinations(draws, 2):
        assert not torch.allclose(one, other, atol=0.1)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_beyond_64_bits_is_refused(seed):
    with pytest.raises(JobFailed, match="no seed"):
        Noise(seed)


@pytest.mark.parametrize("seed", [0, 42, LARGEST])
@pytest.mark.parametrize("space", [SDXL, SVD], ids=["sdxl", "svd"])
def test_brownian_noise_is_minus_the_scaled_increment_of_torchsdes_tree(space, seed):
    sigmas = schedules.sigmas("karras", 12, space, "dpmpp_2m_sde")
    between = Noise(seed).brownian(X, sigmas[-2], sigmas[0])
    tree = torchsde.BrownianTree(t0=sigmas[-2], w0=torch.zeros(SHAPE), t1=sigmas[0], entropy=seed)
    for a, b in itertools.pairwise(sigmas[:-1]):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Should have t[ab]")  # the library rounds its own ends
            increment = tree(b, a)
        assert torch.equal(between(a, b), -increment / (a - b).sqrt())


def test_a_query_at_or_just_beyond_the_ends_is_clamped_without_a_warning():
    low, high = SDXL.sigmas[0], SDXL.sigmas[-1]
    between = Noise(1).brownian(X, low, high)
    whole = between(high, low)
    # One unit in the last place beyond both ends, as the logarithm and back gives it.
    beyond = between(high.nextafter(level(100.0)), low.nextafter(level(0.0)))
    assert torch.allclose(beyond, whole, rtol=1e-5, atol=1e-6)
    root = torchsde.BrownianTree(t0=float(low), w0=torch.zeros(SHAPE), t1=float(high), entropy=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Should have t[ab]")
        assert torch.equal(whole, -root(low, high) / (high - low).sqrt())


def test_brownian_noise_does_not_depend_on_what_was_asked_before():
    levels = [14.6, 9.0, 5.0, 2.0, 1.0, 0.4, 0.1, 0.03]
    pairs = [(level(a), level(b)) for a, b in itertools.pairwise(levels)]
    forwards, backwards = path(8), path(8)
    first = [forwards(*pair) for pair in pairs]
    second = [backwards(*pair) for pair in reversed(pairs)][::-1]
    for one, other in zip(first, second, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_brownian_increments_of_neighbours_add_up_to_the_whole():
    between = path(8)
    a, m, b = level(6.0), level(2.5), level(1.0)
    parts = between(a, m) * (a - m).sqrt() + between(m, b) * (m - b).sqrt()
    assert torch.allclose(parts, between(a, b) * (a - b).sqrt(), rtol=1e-4, atol=1e-5)


def test_brownian_noise_is_standard_normal_and_independent_between_steps():
    between = path(8, torch.zeros(1, 20000))
    first, second = between(level(14.0), level(5.0)), between(level(5.0), level(0.1))
    for draw in (first, second):
        assert float(draw.mean()) == pytest.approx(0, abs=0.03)
        assert float(draw.std()) == pytest.approx(1, abs=0.02)
    assert float((first * second).mean()) == pytest.approx(0, abs=0.03)


def test_one_path_covers_the_whole_batch_and_differs_between_its_rows():
    draw = path(8)(level(2.0), level(1.0))
    assert draw.shape == SHAPE
    assert draw.dtype == torch.float32
    assert not torch.allclose(draw[0], draw[1])


def test_a_brownian_path_leaves_the_stream_of_step_noise_alone():
    plain, mixed = Noise(9), Noise(9)
    mixed.brownian(X, level(0.03), level(14.6))(level(2.0), level(1.0))
    assert torch.equal(plain.like(X), mixed.like(X))


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (1.0, 2.0), (float("nan"), 1.0)])
def test_brownian_noise_goes_downwards_only(a, b):
    with pytest.raises(JobFailed, match="higher to a lower"):
        path(1)(level(a), level(b))


def test_posterior_noise_steps_over_latents_and_position_table():
    generator = torch.Generator().manual_seed(9)
    torch.randn(2, 4, 32, 32, generator=generator)
    torch.randn(257, 32, generator=generator)
    expected = torch.randn(2, 4, 10, 16, generator=generator)
    assert torch.equal(posterior_noise(9, (2, 4, 32, 32), (257, 32), (2, 4, 10, 16)), expected)


def test_wider_latents_see_the_same_brownian_path_in_the_same_digits():
    low, high = torch.tensor(0.03), torch.tensor(14.6)
    paths = [
        Noise(7).brownian(torch.empty(1, 4, 4, 4, dtype=dtype), low, high)
        for dtype in (torch.float32, torch.float64)
    ]
    narrow, wide = (path(torch.tensor(9.0), torch.tensor(2.0)) for path in paths)
    assert wide.dtype == torch.float64
    assert torch.equal(narrow.double(), wide)


def test_a_seed_is_a_whole_number():
    assert torch.equal(Noise(np.int64(5)).initial((3,)), Noise(5).initial((3,)))
    with pytest.raises(TypeError, match="integer"):
        Noise(1.5)
