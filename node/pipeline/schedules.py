"""Noise schedules: the falling list of sigmas that a sampler walks down. Rules: docs, pipeline 7.

A list is float32 on the CPU and ends with 0; a sampler makes ``len(list) - 1`` steps.
"""

import math
from collections.abc import Callable

import torch

from node.errors import JobFailed
from node.pipeline.sampling import Sampling

Tensor = torch.Tensor
_RHO = 7.0
MAX_STEPS = 999
"""One less than the levels of a model's table, for the two samplers that spend one more."""
# These two spend one level more than they are asked for and then leave out the last one above zero.
_DISCARDING = frozenset({"dpm_2", "dpm_2_ancestral"})


def sigmas(scheduler: str, steps: int, sampling: Sampling, sampler: str) -> Tensor:
    """Return the list for ``steps`` steps, its final 0 included; ``ddim_uniform`` may give more steps.

    Raises JobFailed for a scheduler that does not exist and for a number of steps it cannot make.
    """
    if scheduler not in _SCHEDULES:
        raise JobFailed(f"there is no scheduler {scheduler!r}; allowed: {', '.join(_SCHEDULES)}")
    if not 1 <= steps <= MAX_STEPS:
        raise JobFailed(f"no schedule has {steps} steps; allowed are 1 to {MAX_STEPS}")
    discards = sampler in _DISCARDING
    levels = _SCHEDULES[scheduler](steps + 1 if discards else steps, sampling)
    if discards:
        levels = levels[:-1]
    return torch.cat([levels, levels.new_zeros(1)])


def _bounds(sampling: Sampling) -> tuple[float, float]:
    return float(sampling.sigmas[-1]), float(sampling.sigmas[0])


def _times(count: int, sampling: Sampling) -> Tensor:
    first, last = float(sampling.timestep(sampling.sigmas[-1])), float(sampling.timestep(sampling.sigmas[0]))
    return torch.linspace(first, last, count, dtype=torch.float32)


def _normal(steps: int, sampling: Sampling) -> Tensor:
    return sampling.sigma(_times(steps, sampling))


def _sgm_uniform(steps: int, sampling: Sampling) -> Tensor:
    return sampling.sigma(_times(steps + 1, sampling)[:-1])


def _karras(steps: int, sampling: Sampling) -> Tensor:
    """Karras et al. 2022 (arXiv 2206.00364), equation 5, with rho 7; roots in double, the ramp in float32."""
    largest, smallest = (bound ** (1.0 / _RHO) for bound in _bounds(sampling))
    ramp = torch.linspace(0.0, 1.0, steps, dtype=torch.float32)
    levels: Tensor = (largest + ramp * (smallest - largest)) ** _RHO
    return levels


def _exponential(steps: int, sampling: Sampling) -> Tensor:
    largest, smallest = _bounds(sampling)
    return torch.linspace(math.log(largest), math.log(smallest), steps, dtype=torch.float32).exp()


def _simple(steps: int, sampling: Sampling) -> Tensor:
    last = len(sampling.sigmas) - 1
    # The floor of a floating product, as in the reference: it can fall one below the exact quotient.
    stride = len(sampling.sigmas) / steps
    return sampling.sigmas[[last - int(index * stride) for index in range(steps)]]


def _ddim_uniform(steps: int, sampling: Sampling) -> Tensor:
    stride = max(1, len(sampling.sigmas) // steps)
    return sampling.sigmas[list(range(1, len(sampling.sigmas), stride))[::-1]]


_SCHEDULES: dict[str, Callable[[int, Sampling], Tensor]] = {
    "normal": _normal,
    "karras": _karras,
    "exponential": _exponential,
    "sgm_uniform": _sgm_uniform,
    "simple": _simple,
    "ddim_uniform": _ddim_uniform,
}
IMPLEMENTED = tuple(_SCHEDULES)
