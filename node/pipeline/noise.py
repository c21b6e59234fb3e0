"""All randomness of sampling: one private CPU generator per seed, the same stream on every device.

Facts: docs, pipeline 5. The step noise continues the CPU stream after the initial noise even on a GPU, so
that a job's noise does not depend on the card.
"""

from collections.abc import Sequence

import torch


class Noise:
    """The noise of one sampling run; ``seed`` is 0..2^64-1, of which the CPU generator uses 32 bits."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def initial(self, shape: Sequence[int]) -> torch.Tensor:
        """Draw float32 normals of ``shape`` on the CPU; call it before ``like``."""
        return torch.randn(tuple(shape), generator=self._generator, dtype=torch.float32)

    def like(self, x: torch.Tensor) -> torch.Tensor:
        """Draw the stream's next float32 normals in the shape of ``x``, on the device of ``x``."""
        return self.initial(x.shape).to(x.device)


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
