"""The two samplers that step through a posterior: DDPM's, and the one of a consistency model."""

from node.pipeline.solvers import ahead
from node.pipeline.solvers.interface import Denoise, StepCallback, StepNoise, Tensor, slope


def ddpm(denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, callback: StepCallback) -> Tensor:
    """Ancestral sampling on variance-preserving latents (Ho et al. 2020, arXiv 2006.11239, algorithm 2).

    N evaluations; fresh noise in every step but the last. alpha_bar is 1 / (1 + sigma^2). In exact arithmetic
    this is ``euler_ancestral`` with the same noise; its own order of operations is kept because float32
    cancels digits in 1 - alpha_bar at low noise.
    """
    steps = len(sigmas) - 1
    with ahead.normals(noise, x, steps - 1) as drawn:
        for step in range(steps):
            sigma, sigma_next = sigmas[step], sigmas[step + 1]
            predicted = slope(x, denoise(x, sigma), sigma)
            bar, bar_next = 1 / (sigma * sigma + 1), 1 / (sigma_next * sigma_next + 1)
            alpha = bar / bar_next
            scaled = x / (1 + sigma**2).sqrt()
            x = (1 / alpha).sqrt() * (scaled - (1 - alpha) * predicted / (1 - bar).sqrt())
            if step + 1 < steps:
                x = x + ((1 - alpha) * (1 - bar_next) / (1 - bar)).sqrt() * drawn()
                x = x * (1 + sigma_next**2).sqrt()
            callback(step + 1, steps)
    return x


def lcm(denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, callback: StepCallback) -> Tensor:
    """Multistep consistency sampling: Song et al. 2023 (arXiv 2303.01469), algorithm 1.

    N evaluations; the denoised latents are taken and noised again in every step but the last.
    """
    steps = len(sigmas) - 1
    with ahead.normals(noise, x, steps - 1) as drawn:
        for step in range(steps):
            x = denoise(x, sigmas[step])
            if step + 1 < steps:
                x = x + sigmas[step + 1] * drawn()
            callback(step + 1, steps)
    return x
