"""All randomness of sampling: private CPU generators made of one seed, the same numbers on every device.

Facts: docs, pipeline 5. Step noise continues the CPU stream after the initial noise even on a GPU, and
Brownian trees are grown on the CPU, so that a job's noise does not depend on the card.
"""

import operator
from collections.abc import Sequence

import torch

from node.errors import JobFailed
from node.job.tunables import MAX_SEED
from node.pipeline.solvers.interface import NoiseBetween

# torchsde resolves times to its tolerance of 1e-6: it rounds all, its own ends included, to six digits.
_TIME_DIGITS = 6


class Noise:
    """The noise of one sampling run; ``seed`` is 0..2^64-1.

    The CPU generator uses the seed's low 32 bits, a Brownian tree all of them. Raises JobFailed for any other
    seed.
    """

    def __init__(self, seed: int) -> None:
        seed = operator.index(seed)
        if not 0 <= seed <= MAX_SEED:
            raise JobFailed(f"{seed} is no seed; allowed are whole numbers from 0 to {MAX_SEED}")
        self.seed = seed
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def initial(self, shape: Sequence[int]) -> torch.Tensor:
        """Draw float32 normals of ``shape`` on the CPU; call it before ``like``."""
        return torch.randn(tuple(shape), generator=self._generator, dtype=torch.float32)

    def like(self, x: torch.Tensor) -> torch.Tensor:
        """Draw the stream's next float32 normals in the shape of ``x``, on the device of ``x``."""
        return self.initial(x.shape).to(x.device)

    def brownian(self, x: torch.Tensor, sigma_min: torch.Tensor, sigma_max: torch.Tensor) -> NoiseBetween:
        """Return n(a, b), the noise from level a down to b, for sigma_max >= a > b >= sigma_min.

        n(a, b) = -(W(a) - W(b)) / sqrt(a - b), where W is one path in the shape of ``x``, over sigma. It
        has unit variance, float32 digits in the dtype and on the device of ``x``, and up to rounding does not
        depend on what was asked before. It raises JobFailed unless a > b.
        """
        import torchsde

        start, end = (round(float(sigma), _TIME_DIGITS) for sigma in (sigma_min, sigma_max))
        tree = torchsde.BrownianTree(
            t0=float(sigma_min),
            w0=torch.zeros(x.shape, dtype=torch.float32),
            t1=float(sigma_max),
            entropy=self.seed,
        )

        def between(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            a, b = a.cpu(), b.cpu()
            if not float(a) > float(b):
                raise JobFailed(f"Brownian noise goes from a higher to a lower level, not {a} to {b}")
            # The ends themselves can lie outside the rounded range; torchsde would clamp too, with a warning.
            low, high = (min(max(round(float(time), _TIME_DIGITS), start), end) for time in (b, a))
            increment: torch.Tensor = tree(low, high)
            return (-increment / (a - b).float().sqrt()).to(x.device, x.dtype)

        return between


def posterior_noise(
    seed: int, latent_shape: Sequence[int], position_table: Sequence[int], clip_shape: Sequence[int]
) -> torch.Tensor:
    """Return the noise of the clip's image encoding, one row per still: [B, 4, h, w] float32 on the CPU.

    The stream is that of the image seed after the stills' initial noise and after the vision model's
    position table, because that is where the reference finds its generator when it encodes the still.
    """
    noise = Noise(seed)
    noise.initial(latent_shape)
    noise.initial(position_table)
    return noise.initial(clip_shape)
