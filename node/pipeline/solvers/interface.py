"""What a solver takes and gives, and the two formulas that nearly all of them share.

``x`` are latents [B, ...]; ``sigmas`` [N + 1] fall from the first noise level to 0, on the device and in the
dtype of ``x``. A step's levels stay 0-d tensors beside the latents: dividing by a Python float or a scalar on
the CPU would multiply by its reciprocal on a GPU, which rounds differently. Decisions hang on the step's
number or on what is read once at the start, because every look at a GPU tensor waits for the GPU.
"""

from collections.abc import Callable
from typing import Protocol

import torch

Tensor = torch.Tensor
Denoise = Callable[[Tensor, Tensor], Tensor]
"""``denoise(x, sigma)`` returns the denoised latents: sigma [batch] outside, 0-d inside the solvers."""
StepCallback = Callable[[int, int], None]
"""``callback(done, steps)``: so many of the steps are computed; never falls, ends at ``steps``."""
NoiseBetween = Callable[[Tensor, Tensor], Tensor]
"""``between(a, b)``: Brownian noise from level ``a`` down to level ``b``, both 0-d on the CPU."""


class StepNoise(Protocol):
    """Where step noise comes from."""

    def like(self, x: Tensor) -> Tensor:
        """Draw fresh normals in the shape of ``x``."""
        ...

    def brownian(self, x: Tensor, sigma_min: Tensor, sigma_max: Tensor) -> NoiseBetween:
        """Return Brownian noise in the shape of ``x`` for levels from ``sigma_min`` to ``sigma_max``."""
        ...


class Solver(Protocol):
    """An algorithm without step noise."""

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, callback: StepCallback) -> Tensor:
        """Return the final latents."""
        ...


class NoisySolver(Protocol):
    """An algorithm that adds noise between steps."""

    def __call__(
        self, denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, callback: StepCallback
    ) -> Tensor:
        """Return the final latents."""
        ...


def slope(x: Tensor, denoised: Tensor, sigma: Tensor) -> Tensor:
    """Return dx/dsigma of the probability flow (Karras et al. 2022, arXiv 2206.00364, equation 3)."""
    return (x - denoised) / sigma


def ancestral_split(sigma: Tensor, sigma_next: Tensor) -> tuple[Tensor, Tensor]:
    """Return (down, up) with down^2 + up^2 = sigma_next^2; both are 0 where ``sigma_next`` is."""
    up = torch.minimum(sigma_next, torch.sqrt(sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2))
    return torch.sqrt(sigma_next**2 - up**2), up
