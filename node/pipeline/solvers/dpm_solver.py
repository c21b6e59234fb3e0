"""DPM-Solver on its own grid of log levels: a fixed number of evaluations, or steps chosen by their error.

Lu et al. 2022, arXiv 2206.00927. Time is t = -log sigma. Of the list of levels only the first one, the last
one above 0 and (for ``dpm_fast``) the length matter; both stay at that last level and never step to 0, so
what noise a schedule leaves there stays in the latents.
"""

import math
from collections.abc import Callable

import torch

from node.errors import JobFailed, NotFinite
from node.pipeline.solvers.interface import Denoise, StepCallback, Tensor, slope

_THIRD = 1 / 3
_FIRST_WIDTH = 0.05
_RELATIVE, _ABSOLUTE = 0.05, 0.0078
_ACCEPTED = 0.81
_TINY = 1e-8
_ARRIVED = 1e-5
MAX_ATTEMPTS = 1000
"""Steps that ``dpm_adaptive`` may try; a run that behaves needs some tens."""

_Slopes = tuple[Tensor, Tensor]


def dpm_fast(denoise: Denoise, x: Tensor, sigmas: Tensor, callback: StepCallback) -> Tensor:
    """DPM-Solver-fast: steps of order three, closed with orders two and one so that N evaluations are spent.

    An interval counts as as many steps as it spends evaluations.
    """
    budget = len(sigmas) - 1
    count = budget // 3 + 1
    left = budget % 3
    orders = [3] * (count - 1) + [left] if left else [3] * (count - 2) + [2, 1]
    times = torch.linspace(
        float(_time(sigmas[0])), float(_time(sigmas[-2])), count + 1, dtype=x.dtype, device=x.device
    )
    spent = 0
    for index, order in enumerate(orders):
        x = _FIXED[order](denoise, x, times[index], times[index + 1])
        spent += order
        callback(spent, budget)
    return x


def dpm_adaptive(denoise: Denoise, x: Tensor, sigmas: Tensor, callback: StepCallback) -> Tensor:
    """DPM-Solver-23: order three, its width steered by the distance to the embedded order two.

    Three evaluations for each attempt. The error is one number for the whole tensor, so rows of a batch and
    frames of a clip are coupled. Progress is the share of the time range that is behind, in N steps.
    Raises NotFinite when the error is not a number, JobFailed when the end is not reached in MAX_ATTEMPTS.
    """
    steps = len(sigmas) - 1
    time, end = _time(sigmas[0]), _time(sigmas[-2])
    first, last = float(time), float(end)
    width = _FIRST_WIDTH
    previous = x
    done = attempts = 0
    while bool(time < end - _ARRIVED):
        if attempts == MAX_ATTEMPTS:
            raise JobFailed(f"dpm_adaptive did not reach the last level in {MAX_ATTEMPTS} attempts")
        attempts += 1
        target = torch.minimum(end, time + width)
        if not bool(target > time):
            raise JobFailed("dpm_adaptive cannot meet its error bound: its step has shrunk to nothing")
        slopes = _first_two(denoise, x, time, target, _THIRD)
        low = _second_order(x, time, target, slopes, _THIRD)
        high = _third_order(denoise, x, time, target, slopes)
        bound = (_RELATIVE * torch.maximum(low.abs(), previous.abs())).clamp_min(_ABSOLUTE)
        error = float(torch.linalg.norm((low - high) / bound) / x.numel() ** 0.5)
        # A comparison with NaN is false for ever, so the loop would go on rejecting.
        if not math.isfinite(error):
            raise NotFinite("the latents of dpm_adaptive are NaN or infinite, so its error is no number")
        factor = 1 + math.atan((1 / (error + _TINY)) ** (1 / 3) - 1)
        if factor >= _ACCEPTED:
            previous, x, time = low, high, target
        width *= factor
        done = min(steps, int(steps * (float(time) - first) / (last - first)))
        callback(done, steps)
    if done < steps:
        callback(steps, steps)
    return x


def _time(sigma: Tensor) -> Tensor:
    return -sigma.log()


def _sigma(time: Tensor) -> Tensor:
    return time.neg().exp()


def _noise_at(denoise: Denoise, x: Tensor, time: Tensor) -> Tensor:
    """Return the noise prediction epsilon(x, t)."""
    sigma = _sigma(time)
    return slope(x, denoise(x, sigma), sigma)


def _first_two(denoise: Denoise, x: Tensor, time: Tensor, target: Tensor, part: float) -> _Slopes:
    """Return epsilon at ``time``, and at the share ``part`` of the way after a first-order step to there."""
    width = target - time
    between = time + part * width
    start = _noise_at(denoise, x, time)
    ahead = x - _sigma(between) * (part * width).expm1() * start
    return start, _noise_at(denoise, ahead, between)


def _second_order(x: Tensor, time: Tensor, target: Tensor, slopes: _Slopes, part: float) -> Tensor:
    """DPM-Solver-2, the paper's algorithm 1, with its inner point at the share ``part`` of the way."""
    start, ahead = slopes
    reach = (target - time).expm1()
    level = _sigma(target)
    return x - level * reach * start - level / (2 * part) * reach * (ahead - start)


def _third_order(denoise: Denoise, x: Tensor, time: Tensor, target: Tensor, slopes: _Slopes) -> Tensor:
    """DPM-Solver-3, the paper's algorithm 2: inner points at one and two thirds of the way."""
    start, ahead = slopes
    part = 2 * _THIRD
    width = target - time
    between = time + part * width
    reach = (part * width).expm1()
    further = (
        x
        - _sigma(between) * reach * start
        - _sigma(between) * (part / _THIRD) * (reach / (part * width) - 1) * (ahead - start)
    )
    last = _noise_at(denoise, further, between)
    reach, level = width.expm1(), _sigma(target)
    return x - level * reach * start - level / part * (reach / width - 1) * (last - start)


def _order_1(denoise: Denoise, x: Tensor, time: Tensor, target: Tensor) -> Tensor:
    """DPM-Solver-1, which is DDIM."""
    return x - _sigma(target) * (target - time).expm1() * _noise_at(denoise, x, time)


def _order_2(denoise: Denoise, x: Tensor, time: Tensor, target: Tensor) -> Tensor:
    return _second_order(x, time, target, _first_two(denoise, x, time, target, 1 / 2), 1 / 2)


def _order_3(denoise: Denoise, x: Tensor, time: Tensor, target: Tensor) -> Tensor:
    return _third_order(denoise, x, time, target, _first_two(denoise, x, time, target, _THIRD))


_FIXED: dict[int, Callable[[Denoise, Tensor, Tensor, Tensor], Tensor]] = {
    1: _order_1,
    2: _order_2,
    3: _order_3,
}
