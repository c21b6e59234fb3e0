"""First order: Euler's method along the probability flow, with and without fresh noise."""

from node.pipeline.solvers import ahead
from node.pipeline.solvers.interface import Denoise, StepCallback, StepNoise, Tensor, ancestral_split, slope


def euler(denoise: Denoise, x: Tensor, sigmas: Tensor, callback: StepCallback) -> Tensor:
    """Karras et al. 2022 (arXiv 2206.00364), algorithm 2 without churn and without its correction.

    N evaluations.
    """
    steps = len(sigmas) - 1
    falls = sigmas.diff()
    for step in range(steps):
        sigma = sigmas[step]
        x = x + slope(x, denoise(x, sigma), sigma) * falls[step]
        callback(step + 1, steps)
    return x


def euler_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, callback: StepCallback
) -> Tensor:
    """Euler to below the next level, then noise up to it (Song et al. 2020, arXiv 2010.02502, with eta 1).

    N evaluations; fresh noise in every step but the last.
    """
    steps = len(sigmas) - 1
    # All steps at once: one by one, these few numbers cost as much as the arithmetic on small latents.
    downs, ups = ancestral_split(sigmas[:-1], sigmas[1:])
    falls = downs - sigmas[:-1]
    with ahead.normals(noise, x, steps - 1) as drawn:
        for step in range(steps):
            sigma = sigmas[step]
            x = x + slope(x, denoise(x, sigma), sigma) * falls[step]
            if step + 1 < steps:
                x = x + drawn() * ups[step]
            callback(step + 1, steps)
    return x
