"""DPM-Solver++ for the diffusion SDE, eta 1: its noise is one Brownian path, asked for between two levels.

Lu et al. 2022, arXiv 2211.01095 (appendix on SDE solvers). The path is asked on the CPU at levels computed on
the CPU: one unit in the last place of a query moves the noise, so a GPU's own exponential must not decide it.
"""

import itertools

from node.pipeline.solvers import ahead
from node.pipeline.solvers.interface import (
    Denoise,
    StepCallback,
    StepNoise,
    Tensor,
    ancestral_split,
    slope,
)


def dpmpp_sde(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, callback: StepCallback
) -> Tensor:
    """DPM-Solver++(2S) for the SDE with its inner point half way (r = 1/2).

    2N - 1 evaluations; two draws in each step, to the middle and to the end; the last step is Euler's.
    """
    steps = len(sigmas) - 1
    levels = sigmas.cpu()
    queries = []
    for step in range(steps - 1):
        start, middle, end = _half_way(levels[step], levels[step + 1])
        queries += [(start, middle), (start, end)]
    with ahead.increments(noise, x, queries, levels[-2], levels[0]) as drawn:
        for step in range(steps):
            sigma = sigmas[step]
            denoised = denoise(x, sigma)
            if step + 1 == steps:
                x = x + slope(x, denoised, sigma) * (sigmas[step + 1] - sigma)
            else:
                start, middle, end = _half_way(sigma, sigmas[step + 1])
                down, up = ancestral_split(start, middle)
                half_way = _exponential_step(x, denoised, sigma, down) + drawn() * up
                # With r = 1/2 the weights of the two denoised latents are 0 and 1.
                denoised = denoise(half_way, middle)
                down, up = ancestral_split(start, end)
                x = _exponential_step(x, denoised, sigma, down) + drawn() * up
            callback(step + 1, steps)
    return x


def dpmpp_2m_sde(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, callback: StepCallback
) -> Tensor:
    """DPM-Solver++(2M) for the SDE, its correction in the midpoint form.

    N evaluations; one draw in every step but the last, which takes the denoised latents.
    """
    steps = len(sigmas) - 1
    times = -sigmas.log()
    levels = sigmas.cpu()
    queries = itertools.pairwise(levels[:-1])
    previous: Tensor | None = None
    with ahead.increments(noise, x, queries, levels[-2], levels[0]) as drawn:
        for step in range(steps):
            denoised = denoise(x, sigmas[step])
            if step + 1 == steps:
                x = denoised
            else:
                sigma_next = sigmas[step + 1]
                width = times[step + 1] - times[step]
                share = (-width - width).expm1().neg()
                x = sigma_next / sigmas[step] * (-width).exp() * x + share * denoised
                if previous is not None:
                    ratio = (times[step] - times[step - 1]) / width
                    x = x + 0.5 * share * (1 / ratio) * (denoised - previous)
                x = x + drawn() * sigma_next * (-2 * width).expm1().neg().sqrt()
            previous = denoised
            callback(step + 1, steps)
    return x


def dpmpp_3m_sde(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, callback: StepCallback
) -> Tensor:
    """DPM-Solver++(3M) for the SDE: two earlier denoised latents make it third order.

    N evaluations; one draw in every step but the last, which takes the denoised latents.
    """
    steps = len(sigmas) - 1
    times = -sigmas.log()
    levels = sigmas.cpu()
    queries = itertools.pairwise(levels[:-1])
    earlier: list[Tensor] = []  # the denoised latents of the previous step and of the one before it
    with ahead.increments(noise, x, queries, levels[-2], levels[0]) as drawn:
        for step in range(steps):
            denoised = denoise(x, sigmas[step])
            if step + 1 == steps:
                x = denoised
            else:
                width = times[step + 1] - times[step]
                double = width * 2
                x = (-double).exp() * x + (-double).expm1().neg() * denoised
                phi_2 = double.neg().expm1() / double + 1
                ratios = [
                    (times[step - back] - times[step - back - 1]) / width for back in range(len(earlier))
                ]
                if len(earlier) == 2:
                    newer = (denoised - earlier[0]) / ratios[0]
                    older = (earlier[0] - earlier[1]) / ratios[1]
                    first = newer + (newer - older) * ratios[0] / (ratios[0] + ratios[1])
                    second = (newer - older) / (ratios[0] + ratios[1])
                    phi_3 = phi_2 / double - 0.5
                    x = x + phi_2 * first - phi_3 * second
                elif earlier:
                    x = x + phi_2 * ((denoised - earlier[0]) / ratios[0])
                x = x + drawn() * sigmas[step + 1] * (-2 * width).expm1().neg().sqrt()
            earlier = [denoised, *earlier[:1]]
            callback(step + 1, steps)
    return x


def _half_way(sigma: Tensor, sigma_next: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the levels at the start, the middle and the end of a step as they come back from log time."""
    time, target = -sigma.log(), -sigma_next.log()
    middle = time + (target - time) * 0.5
    return (-time).exp(), (-middle).exp(), (-target).exp()


def _exponential_step(x: Tensor, denoised: Tensor, sigma: Tensor, down: Tensor) -> Tensor:
    """Step exactly from level ``sigma`` to ``down`` as if ``denoised`` were constant."""
    time, target = -sigma.log(), -down.log()
    return ((-target).exp() / (-time).exp()) * x - (time - target).expm1() * denoised
