"""Samplers by name: from initial latents down a list of sigmas to clean latents. Formulas: docs, pipeline 8.

The algorithms are in ``node.pipeline.solvers``, one function each. Latents and sigmas are float32; nothing
here knows models, guidance or seeds.
"""

import itertools
import math
from collections.abc import Sequence

import torch

from node.errors import JobFailed
from node.job.tunables import SAME_AS
from node.pipeline.solvers import dpm_2, dpm_solver, dpmpp, dpmpp_sde, euler, heun, lms, posterior
from node.pipeline.solvers.interface import (
    Denoise,
    NoiseBetween,
    NoisySolver,
    Solver,
    StepCallback,
    StepNoise,
    Tensor,
    ancestral_split,
)

__all__ = [
    "IMPLEMENTED",
    "Denoise",
    "NoiseBetween",
    "StepCallback",
    "StepNoise",
    "ancestral_split",
    "sample",
]

_SOLVERS: dict[str, Solver] = {
    "euler": euler.euler,
    "heun": heun.heun,
    "heunpp2": heun.heunpp2,
    "dpm_2": dpm_2.dpm_2,
    "lms": lms.lms,
    "dpm_fast": dpm_solver.dpm_fast,
    "dpm_adaptive": dpm_solver.dpm_adaptive,
    "dpmpp_2m": dpmpp.dpmpp_2m,
}
_NOISY_SOLVERS: dict[str, NoisySolver] = {
    "euler_ancestral": euler.euler_ancestral,
    "dpm_2_ancestral": dpm_2.dpm_2_ancestral,
    "dpmpp_2s_ancestral": dpmpp.dpmpp_2s_ancestral,
    "dpmpp_sde": dpmpp_sde.dpmpp_sde,
    "dpmpp_2m_sde": dpmpp_sde.dpmpp_2m_sde,
    "dpmpp_3m_sde": dpmpp_sde.dpmpp_3m_sde,
    "ddpm": posterior.ddpm,
    "lcm": posterior.lcm,
}
IMPLEMENTED = (*_SOLVERS, *_NOISY_SOLVERS, *SAME_AS)


def sample(
    name: str,
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    callback: StepCallback | None = None,
) -> Tensor:
    """Return the final latents, float32 in the shape of ``x``, not divided by the latent scale.

    ``x`` [B, ...] comes from ``Sampling.start``, ``sigmas`` from ``schedules.sigmas``; ``denoise`` gets sigma
    as [B]. ``callback`` hears of progress in N = len(sigmas) - 1 steps: after each one; for ``dpm_fast``
    after each interval, which counts as its evaluations; for ``dpm_adaptive`` after each attempt, by the
    share of log sigma that is behind. Raises JobFailed for an unknown sampler, for sigmas that do not fall to
    0, for latents of another type; NotFinite or JobFailed when ``dpm_adaptive`` cannot choose a step.
    """
    plain = SAME_AS.get(name, name)
    if plain not in _SOLVERS and plain not in _NOISY_SOLVERS:
        raise JobFailed(f"there is no sampler {name!r}; allowed: {', '.join(IMPLEMENTED)}")
    if x.dtype not in {torch.float32, torch.float64} or not x.ndim:
        raise JobFailed(f"latents of shape {list(x.shape)} are {x.dtype}; wanted are rows of float32")
    if sigmas.ndim != 1 or not _falls_to_zero(sigmas.tolist()):
        raise JobFailed(f"sigmas of shape {list(sigmas.shape)} do not fall step by step to a final 0")

    def per_row(latents: Tensor, sigma: Tensor) -> Tensor:
        return denoise(latents, sigma.expand(latents.shape[0]).clone())

    levels = sigmas.to(x.device, x.dtype)
    report = callback or _ignore
    if plain in _SOLVERS:
        return _SOLVERS[plain](per_row, x, levels, report)
    return _NOISY_SOLVERS[plain](per_row, x, levels, noise, report)


def _falls_to_zero(levels: Sequence[float]) -> bool:
    falling = all(level > after for level, after in itertools.pairwise(levels))
    return len(levels) > 1 and falling and levels[-1] == 0 and math.isfinite(levels[0])


def _ignore(_done: int, _steps: int) -> None:
    pass
