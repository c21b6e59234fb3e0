"""Second order with one evaluation at the geometric middle of each step, with and without fresh noise.

Their schedules have one level more, of which the last above 0 is left out: ``node.pipeline.schedules``.
"""

from node.pipeline.solvers import ahead
from node.pipeline.solvers.interface import Denoise, StepCallback, StepNoise, Tensor, ancestral_split, slope


def dpm_2(denoise: Denoise, x: Tensor, sigmas: Tensor, callback: StepCallback) -> Tensor:
    """DPM-Solver-2 (Lu et al. 2022, arXiv 2206.00927) in the form of Karras et al. 2022, algorithm 2.

    2N - 1 evaluations; the last step is Euler's.
    """
    steps = len(sigmas) - 1
    for step in range(steps):
        sigma, sigma_next = sigmas[step], sigmas[step + 1]
        first = slope(x, denoise(x, sigma), sigma)
        x = (
            x + first * (sigma_next - sigma)
            if step + 1 == steps
            else _midpoint(denoise, x, first, sigma, sigma_next)
        )
        callback(step + 1, steps)
    return x


def dpm_2_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, callback: StepCallback
) -> Tensor:
    """DPM-Solver-2 to below the next level, then noise up to it.

    2N - 1 evaluations; fresh noise in every step that ends above 0, the last step is Euler's.
    """
    steps = len(sigmas) - 1
    downs, ups = ancestral_split(sigmas[:-1], sigmas[1:])
    stops = (downs == 0).tolist()
    with ahead.normals(noise, x, stops.count(False)) as drawn:
        for step in range(steps):
            sigma, down = sigmas[step], downs[step]
            first = slope(x, denoise(x, sigma), sigma)
            if stops[step]:
                x = x + first * (down - sigma)
            else:
                x = _midpoint(denoise, x, first, sigma, down)
                x = x + drawn() * ups[step]
            callback(step + 1, steps)
    return x


def _midpoint(denoise: Denoise, x: Tensor, first: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
    """Step to ``target`` along the slope found half way there in log sigma."""
    middle = sigma.log().lerp(target.log(), 0.5).exp()
    half_way = x + first * (middle - sigma)
    return x + slope(half_way, denoise(half_way, middle), middle) * (target - sigma)
