"""Samplers: from initial latents down a list of sigmas to clean latents. Formulas: docs, pipeline 8.

One function per sampler with one signature, found by name in a registry. Latents and sigmas are float32;
nothing here knows models, guidance or seeds.
"""

from collections.abc import Callable
from typing import Protocol

import torch

from node.errors import JobFailed

Tensor = torch.Tensor
Denoise = Callable[[Tensor, Tensor], Tensor]
"""``denoise(x, sigma)`` with sigma of shape [batch] returns the denoised latents."""
StepCallback = Callable[[int, int], None]
"""``callback(done, steps)`` after each step."""


class StepNoise(Protocol):
    """Where step noise comes from."""

    def like(self, x: Tensor) -> Tensor:
        """Draw fresh normals in the shape of ``x``."""
        ...


class _Sampler(Protocol):
    def __call__(
        self, denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, callback: StepCallback
    ) -> Tensor: ...


def sample(
    name: str,
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    callback: StepCallback | None = None,
) -> Tensor:
    """Return the final latents, not divided by the latent scale. ``x`` comes from ``Sampling.start``.

    Raises JobFailed for a sampler that is not implemented.
    """
    if name not in _SAMPLERS:
        raise JobFailed(f"sampler {name!r} is not implemented; allowed: {', '.join(_SAMPLERS)}")

    def per_row(latents: Tensor, sigma: Tensor) -> Tensor:
        return denoise(latents, sigma.expand(latents.shape[0]))

    return _SAMPLERS[name](per_row, x, sigmas.to(x.device), noise, callback or _ignore)


def ancestral_split(sigma: Tensor, sigma_next: Tensor) -> tuple[Tensor, Tensor]:
    """Return (down, up) with down^2 + up^2 = sigma_next^2; both are 0 when ``sigma_next`` is."""
    up = torch.minimum(sigma_next, torch.sqrt(sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2))
    return torch.sqrt(sigma_next**2 - up**2), up


def _ignore(_done: int, _steps: int) -> None:
    pass


def _euler_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, callback: StepCallback
) -> Tensor:
    steps = len(sigmas) - 1
    for step in range(steps):
        sigma, sigma_next = sigmas[step], sigmas[step + 1]
        down, up = ancestral_split(sigma, sigma_next)
        slope = (x - denoise(x, sigma)) / sigma
        x = x + slope * (down - sigma)
        if step + 1 < steps:
            x = x + noise.like(x) * up
        callback(step + 1, steps)
    return x


_SAMPLERS: dict[str, _Sampler] = {"euler_ancestral": _euler_ancestral}
IMPLEMENTED = tuple(_SAMPLERS)
