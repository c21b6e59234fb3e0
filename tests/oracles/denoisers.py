"""Toy denoisers ``denoise(x, sigma)`` for latents [B, 4, h, w] and sigma [B], in the dtype of ``x``."""

import torch

_generator = torch.Generator().manual_seed(20240401)
_TARGET = torch.randn(4, 1, 1, generator=_generator)
_KERNEL = torch.randn(4, 4, 3, 3, generator=_generator) / 6
_BIAS = torch.randn(4, generator=_generator) / 10
VARIANCE = 0.64


def _wide(sigma, x):
    return sigma.reshape(-1, *(1 for _ in x.shape[1:]))


def gaussian(x, sigma):
    """The exact posterior mean when clean latents are normal around a fixed colour."""
    target = _TARGET.to(x)
    return target + (x - target) * VARIANCE / (VARIANCE + _wide(sigma, x) ** 2)


def saturating(x, sigma):
    """A pointwise nonlinear picture of the scaled latents."""
    return torch.tanh(1.3 * x / (1 + _wide(sigma, x) ** 2).sqrt() + 0.3 * _TARGET.to(x))


def convolving(x, sigma):
    """A fixed random network that mixes pixels and channels, in the v parametrisation."""
    scale = 1 / (1 + _wide(sigma, x) ** 2).sqrt()
    v = torch.tanh(torch.nn.functional.conv2d(x * scale, _KERNEL.to(x), _BIAS.to(x), padding=1))
    return x * scale**2 - v * _wide(sigma, x) * scale


ALL = {"gaussian": gaussian, "saturating": saturating, "convolving": convolving}
