"""Model sampling: how SDXL (discrete epsilon) and SVD (continuous v) relate noise level, time and output.

The formulas and the constants are those of docs, pipeline 4. Everything is float32; sigma is a 0-d tensor or
one value per batch row.
"""

import math
from typing import Protocol

import torch

Tensor = torch.Tensor


class Sampling(Protocol):
    """What schedules, samplers and guidance need to know of a model."""

    sigmas: Tensor

    def start(self, noise: Tensor, sigmas: Tensor) -> Tensor:
        """Return the initial latents for unit ``noise``."""
        ...

    def timestep(self, sigma: Tensor) -> Tensor:
        """Return what the network is told for ``sigma``, float32."""
        ...

    def sigma(self, timestep: Tensor) -> Tensor:
        """Return the noise level at a (fractional) timestep."""
        ...

    def scale_input(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return what the network is shown for latents ``x``."""
        ...

    def denoised(self, x: Tensor, output: Tensor, sigma: Tensor) -> Tensor:
        """Return the clean latents that the network's ``output`` stands for."""
        ...


def _wide(sigma: Tensor, x: Tensor) -> Tensor:
    """Give sigma [] or [batch] the dimensions of ``x``."""
    sigma = torch.as_tensor(sigma, dtype=torch.float32, device=x.device)
    return sigma.reshape(sigma.shape + (1,) * (x.ndim - sigma.ndim)) if sigma.ndim else sigma


def _start(noise: Tensor, sigmas: Tensor, sigma_max: float) -> Tensor:
    first = float(sigmas[0])
    if first > sigma_max or math.isclose(first, sigma_max, rel_tol=1e-5):
        return noise * torch.sqrt(1.0 + sigmas[0].to(noise.device) ** 2)
    return noise * sigmas[0].to(noise.device)


def _last_nearer(levels: Tensor) -> Tensor:
    """Return for each two neighbours the last float32 that is not nearer to the upper one, in float32."""
    lower, upper = levels[:-1], levels[1:]

    def belongs(value: Tensor) -> Tensor:
        return (value - lower).abs() <= (value - upper).abs()

    last = (lower + upper) / 2
    while True:
        before, after = torch.nextafter(last, lower), torch.nextafter(last, upper)
        moved = torch.where(belongs(after), after, torch.where(belongs(last), last, before))
        if torch.equal(moved, last):
            return last
        last = moved


class DiscreteEpsilon:
    """SDXL: 1000 discrete levels, the network predicts the noise."""

    def __init__(self) -> None:
        betas = torch.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000, dtype=torch.float64) ** 2
        alphas = torch.cumprod(1.0 - betas, dim=0)
        levels = torch.sqrt((1.0 - alphas) / alphas)
        self.sigmas = levels.float()
        self._log_sigmas = levels.log().float()
        self._last_nearer = _last_nearer(self._log_sigmas)
        self._nearer_on: dict[torch.device, Tensor] = {}

    def start(self, noise: Tensor, sigmas: Tensor) -> Tensor:
        """Return the initial latents for unit ``noise``."""
        return _start(noise, sigmas, float(self.sigmas[-1]))

    def timestep(self, sigma: Tensor) -> Tensor:
        """Return the index of the nearest level in log space, as float32; the first one on a tie."""
        sigma = torch.as_tensor(sigma, dtype=torch.float32)
        # One look into a table instead of a thousand distances, with the same answer for every float32.
        table = self._nearer_on.get(sigma.device)
        if table is None:
            # Kept, because a copy to a GPU in every step would wait for it.
            table = self._nearer_on[sigma.device] = self._last_nearer.to(sigma.device)
        return torch.bucketize(sigma.log(), table).float()

    def sigma(self, timestep: Tensor) -> Tensor:
        """Interpolate the table linearly in log space; ``timestep`` is clamped to 0..999."""
        timestep = torch.as_tensor(timestep, dtype=torch.float32).clamp(0, 999)
        low, high, part = timestep.floor().long(), timestep.ceil().long(), timestep.frac()
        table = self._log_sigmas.to(timestep.device)
        return ((1.0 - part) * table[low] + part * table[high]).exp()

    def scale_input(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return ``x`` at unit variance."""
        wide = _wide(sigma, x)
        return x / torch.sqrt(1.0 + wide * wide)

    def denoised(self, x: Tensor, output: Tensor, sigma: Tensor) -> Tensor:
        """Subtract the predicted noise."""
        return torch.addcmul(x, _wide(sigma, x), output.float(), value=-1.0)


class ContinuousV:
    """SVD: any level from 0.002 to 700, the network predicts v."""

    def __init__(self) -> None:
        self.sigmas = torch.linspace(math.log(0.002), math.log(700.0), 1000, dtype=torch.float32).exp()

    def start(self, noise: Tensor, sigmas: Tensor) -> Tensor:
        """Return the initial latents for unit ``noise``."""
        return _start(noise, sigmas, float(self.sigmas[-1]))

    def timestep(self, sigma: Tensor) -> Tensor:
        """Return a quarter of the logarithm of the noise level."""
        return 0.25 * torch.as_tensor(sigma, dtype=torch.float32).log()

    def sigma(self, timestep: Tensor) -> Tensor:
        """Return the noise level at a timestep."""
        return (4.0 * torch.as_tensor(timestep, dtype=torch.float32)).exp()

    def scale_input(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the noisy channels at unit variance; the still's channels are never scaled."""
        wide = _wide(sigma, x)
        return x / torch.sqrt(1.0 + wide * wide)

    def denoised(self, x: Tensor, output: Tensor, sigma: Tensor) -> Tensor:
        """Combine ``x`` and v."""
        wide = _wide(sigma, x)
        return x / (1.0 + wide**2) - output.float() * wide / torch.sqrt(1.0 + wide**2)


SDXL = DiscreteEpsilon()
SVD = ContinuousV()
