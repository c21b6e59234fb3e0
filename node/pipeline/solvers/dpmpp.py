"""DPM-Solver++ of second order without Brownian noise: Lu et al. 2022, arXiv 2211.01095. t = -log sigma."""

from node.pipeline.solvers import ahead
from node.pipeline.solvers.interface import Denoise, StepCallback, StepNoise, Tensor, ancestral_split, slope


def dpmpp_2s_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, callback: StepCallback
) -> Tensor:
    """DPM-Solver++(2S), algorithm 1 with its inner point half way, to below the next level; then noise.

    2N - 1 evaluations; fresh noise in every step but the last, which is Euler's.
    """
    steps = len(sigmas) - 1
    downs, ups = ancestral_split(sigmas[:-1], sigmas[1:])
    stops = (downs == 0).tolist()
    with ahead.normals(noise, x, steps - 1) as drawn:
        for step in range(steps):
            sigma, down = sigmas[step], downs[step]
            denoised = denoise(x, sigma)
            if stops[step]:
                x = x + slope(x, denoised, sigma) * (down - sigma)
            else:
                time, target = -sigma.log(), -down.log()
                width = target - time
                middle = (-(time + 0.5 * width)).exp()
                start, end = (-time).exp(), (-target).exp()
                half_way = (middle / start) * x - (-width * 0.5).expm1() * denoised
                x = (end / start) * x - (-width).expm1() * denoise(half_way, middle)
            if step + 1 < steps:
                x = x + drawn() * ups[step]
            callback(step + 1, steps)
    return x


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Tensor, callback: StepCallback) -> Tensor:
    """DPM-Solver++(2M), algorithm 2: the previous step's denoised latents make it second order.

    N evaluations; the first step is of first order, the last one takes the denoised latents.
    """
    steps = len(sigmas) - 1
    times = -sigmas.log()
    previous: Tensor | None = None
    for step in range(steps):
        denoised = denoise(x, sigmas[step])
        if step + 1 == steps:
            x = denoised
        else:
            width = times[step + 1] - times[step]
            wanted = denoised
            if previous is not None:
                ratio = (times[step] - times[step - 1]) / width
                wanted = (1 + 1 / (2 * ratio)) * denoised - (1 / (2 * ratio)) * previous
            scale = (-times[step + 1]).exp() / (-times[step]).exp()
            x = scale * x - (-width).expm1() * wanted
        previous = denoised
        callback(step + 1, steps)
    return x
