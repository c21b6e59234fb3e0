"""Linear multistep: Adams-Bashforth on a list of unevenly spaced noise levels."""

import math
from collections import deque

from node.pipeline.solvers.interface import Denoise, StepCallback, Tensor, slope

_ORDER = 4


def lms(denoise: Denoise, x: Tensor, sigmas: Tensor, callback: StepCallback) -> Tensor:
    """Integrate the polynomial through the last four slopes over each step.

    Adams-Bashforth as in Liu et al. 2022 (arXiv 2202.09778), here in sigma.
    N evaluations. The step to 0 follows the same rule as the others: it extrapolates.
    """
    steps = len(sigmas) - 1
    levels = sigmas.tolist()
    slopes: deque[Tensor] = deque(maxlen=_ORDER)
    for step in range(steps):
        slopes.appendleft(slope(x, denoise(x, sigmas[step]), sigmas[step]))
        known = levels[max(0, step + 1 - _ORDER) : step + 1][::-1]
        weights = multistep_weights(known, levels[step + 1])
        change = slopes[0] * weights[0]
        for older, weight in zip(list(slopes)[1:], weights[1:], strict=True):
            change = change + older * weight
        x = x + change
        callback(step + 1, steps)
    return x


def multistep_weights(known: list[float], target: float) -> list[float]:
    """Return the weight of each known slope for the step from ``known[0]`` to ``target``.

    ``known`` are at most four levels, the newest first. Weight j is the integral of the j-th Lagrange
    polynomial, a cubic at most: Gauss-Legendre with two nodes gives such integrals exactly.
    """
    middle, half = (known[0] + target) / 2, (target - known[0]) / 2
    nodes = (middle - half / math.sqrt(3), middle + half / math.sqrt(3))
    return [half * sum(_lagrange(known, index, node) for node in nodes) for index in range(len(known))]


def _lagrange(known: list[float], index: int, at: float) -> float:
    own = known[index]
    return math.prod((at - other) / (own - other) for j, other in enumerate(known) if j != index)
