"""Heun's method and a third-order relative whose extra slopes fade as sampling goes on."""

from node.pipeline.solvers.interface import Denoise, StepCallback, Tensor, slope


def heun(denoise: Denoise, x: Tensor, sigmas: Tensor, callback: StepCallback) -> Tensor:
    """Karras et al. 2022 (arXiv 2206.00364), algorithm 2 without churn.

    2N - 1 evaluations; the last step is Euler's.
    """
    steps = len(sigmas) - 1
    for step in range(steps):
        sigma, sigma_next = sigmas[step], sigmas[step + 1]
        first = slope(x, denoise(x, sigma), sigma)
        width = sigma_next - sigma
        if step + 1 == steps:
            x = x + first * width
        else:
            ahead = x + first * width
            second = slope(ahead, denoise(ahead, sigma_next), sigma_next)
            x = x + (first + second) / 2 * width
        callback(step + 1, steps)
    return x


def heunpp2(denoise: Denoise, x: Tensor, sigmas: Tensor, callback: StepCallback) -> Tensor:
    """Heun's method looking two levels ahead (docs, pipeline 8; no paper describes these weights).

    3N - 3 evaluations; the last step is Euler's, the one before it Heun's with uneven weights. The weights of
    the later slopes are their levels over two or three times the *first* level of the whole list.
    """
    steps = len(sigmas) - 1
    for step in range(steps):
        sigma, sigma_next = sigmas[step], sigmas[step + 1]
        first = slope(x, denoise(x, sigma), sigma)
        width = sigma_next - sigma
        if step + 1 == steps:
            x = x + first * width
            callback(step + 1, steps)
            continue
        ahead = x + first * width
        second = slope(ahead, denoise(ahead, sigma_next), sigma_next)
        if step + 2 == steps:
            weight_2 = sigma_next / (2 * sigmas[0])
            weight_1 = 1 - weight_2
            x = x + (first * weight_1 + second * weight_2) * width
        else:
            sigma_after = sigmas[step + 2]
            further = ahead + second * (sigma_after - sigma_next)
            third = slope(further, denoise(further, sigma_after), sigma_after)
            weight_2 = sigma_next / (3 * sigmas[0])
            weight_3 = sigma_after / (3 * sigmas[0])
            weight_1 = 1 - weight_2 - weight_3
            x = x + (weight_1 * first + weight_2 * second + weight_3 * third) * width
        callback(step + 1, steps)
    return x
