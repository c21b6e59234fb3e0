"""Group norm from sums over pieces."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from node.pipeline.acceleration import group_norm
from node.pipeline.acceleration.group_norm import Statistics, accumulation_type, normalise_silu


def make_norm(dtype, channels=8, groups=4):
    norm = nn.GroupNorm(groups, channels, eps=1e-5).requires_grad_(requires_grad=False).to(dtype)
    generator = torch.Generator().manual_seed(5)
    norm.weight.copy_(torch.rand(channels, generator=generator) + 0.5)
    norm.bias.copy_(torch.randn(channels, generator=generator))
    return norm


def pictures(dtype, offset=0.0):
    noise = torch.randn(6, 8, 4, 5, generator=torch.Generator().manual_seed(6))
    return (noise * torch.arange(1, 7)[:, None, None, None] + offset).to(dtype)


def apply(x, norm, *, together, piece=2):
    statistics = Statistics()
    for start in range(0, len(x), piece):
        statistics.add(x[start : start + piece])
    scaling = statistics.over_all(norm) if together else statistics.per_image(norm)
    out = torch.empty_like(x)
    for start in range(0, len(x), piece):
        part = slice(start, start + piece)
        normalise_silu(x[part], scaling.rows(start, start + piece), out[part])
    return out


def test_of_each_image_by_itself():
    norm, x = make_norm(torch.float64), pictures(torch.float64)
    expected = functional.silu(norm(x))
    assert torch.allclose(apply(x, norm, together=False), expected, rtol=1e-12, atol=1e-14)


def test_of_all_images_as_one_clip():
    norm, x = make_norm(torch.float64), pictures(torch.float64)
    clip = x.permute(1, 0, 2, 3)[None]  # [1, C, F, H, W]
    expected = functional.silu(norm(clip))[0].permute(1, 0, 2, 3)
    assert torch.allclose(apply(x, norm, together=True), expected, rtol=1e-12, atol=1e-14)
    assert not torch.allclose(apply(x, norm, together=False), expected, atol=1e-2)


@pytest.mark.parametrize("piece", [1, 3, 4, 6])
def test_pieces_of_any_size_give_the_same(piece):
    norm, x = make_norm(torch.float64), pictures(torch.float64)
    found = apply(x, norm, together=True, piece=piece)
    assert torch.allclose(found, apply(x, norm, together=True), rtol=1e-13, atol=1e-14)


def test_float32_statistics_survive_a_mean_a_thousand_times_the_spread():
    norm, x = make_norm(torch.float32), pictures(torch.float32, offset=1000.0)
    exact = functional.silu(make_norm(torch.float64)(x.double()))
    assert (apply(x, norm, together=False) - exact).abs().max() < 2e-3
    assert (functional.silu(norm(x)) - exact).abs().max() < 2e-3


def test_half_precision_is_rounded_once_for_the_norm_and_once_for_the_silu():
    norm, x = make_norm(torch.bfloat16), pictures(torch.bfloat16)
    wide = make_norm(torch.bfloat16).double()
    expected = functional.silu(wide(x.double()).bfloat16())
    found = apply(x, norm, together=False)
    # One unit in the last place where a sum fell beside the middle of two values.
    assert torch.allclose(found.float(), expected.float(), rtol=2**-7, atol=1e-6)
    assert (found == expected).float().mean() > 0.97


def test_writes_in_place_when_out_is_the_input():
    norm, x = make_norm(torch.float64), pictures(torch.float64)
    expected = apply(x, norm, together=False)
    statistics = Statistics()
    statistics.add(x)
    normalise_silu(x, statistics.per_image(norm), x)
    assert torch.equal(x, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_sums_by_way_of_a_copy_are_those_of_reductions_that_cast_as_they_read(dtype):
    x = pictures(dtype, offset=3.0).contiguous(memory_format=torch.channels_last)
    kept = accumulation_type(dtype)
    on_cpu, on_gpu = group_norm._moments_cast(x, kept), group_norm._moments_read(x, kept)
    exact = x.double().sum(dim=(2, 3)), x.double().square().sum(dim=(2, 3))
    for one, other, known in zip(on_cpu, on_gpu, exact, strict=True):
        assert torch.allclose(one.double(), known, rtol=1e-6 if kept == torch.float32 else 1e-14)
        assert torch.allclose(other.double(), known, rtol=1e-6 if kept == torch.float32 else 1e-14)
