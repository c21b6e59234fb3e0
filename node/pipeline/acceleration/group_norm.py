"""Group norm in two passes: statistics from sums over pieces, then one scaling, written where it is wanted.

For activations too large to be normalised in one call: the statistics of a whole clip are taken piece by
piece, always in the same order, and applied piece by piece. Y. Wu, K. He, "Group Normalization", 2018.
"""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Scaling:
    """``x * scale + shift``, both [R, C, 1, 1]; R is 1 for one statistic over all, else one row per image."""

    scale: torch.Tensor
    shift: torch.Tensor

    def rows(self, start: int, end: int) -> "Scaling":
        """Return the scaling of images ``start`` to ``end``; that of a clip is the same for all frames."""
        if len(self.scale) == 1:
            return self
        return Scaling(self.scale[start:end], self.shift[start:end])


def accumulation_type(dtype: torch.dtype) -> torch.dtype:
    """Return what sums of ``dtype`` are kept in: twice the digits, so that their rounding does not show."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else torch.float64


def application_type(dtype: torch.dtype) -> torch.dtype:
    """Return what factors of ``dtype`` activations are kept in: never narrower than the activations."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class Statistics:
    """Sums and sums of squares per image and channel, gathered piece by piece in the order of the images."""

    def __init__(self) -> None:
        self._sums: list[torch.Tensor] = []
        self._squares: list[torch.Tensor] = []
        self._pixels = 0

    def add(self, x: torch.Tensor) -> None:
        """Take in the next images, [N, C, H, W]."""
        kept = accumulation_type(x.dtype)
        self._pixels = x.shape[2] * x.shape[3]
        moments = _moments_cast if x.device.type == "cpu" else _moments_read
        sums, squares = moments(x, kept)
        self._sums.append(sums.double())
        self._squares.append(squares.double())

    def per_image(self, norm: nn.GroupNorm) -> Scaling:
        """Return the scaling of ``norm`` with the statistics of each image by itself."""
        return self._scaling(norm, torch.cat(self._sums), torch.cat(self._squares), 1)

    def over_all(self, norm: nn.GroupNorm) -> Scaling:
        """Return the scaling of ``norm`` with the statistics of all images together, as of one clip."""
        sums, squares = torch.cat(self._sums), torch.cat(self._squares)
        return self._scaling(norm, sums.sum(dim=0)[None], squares.sum(dim=0)[None], len(sums))

    def _scaling(self, norm: nn.GroupNorm, sums: torch.Tensor, squares: torch.Tensor, images: int) -> Scaling:
        rows, channels = sums.shape
        grouped = (rows, norm.num_groups, channels // norm.num_groups)
        numbers = grouped[2] * self._pixels * images
        mean = sums.view(grouped).sum(dim=2) / numbers  # [R, G], float64 like all here
        variance = (squares.view(grouped).sum(dim=2) / numbers - mean.square()).clamp_min(0.0)
        inverse = torch.rsqrt(variance + norm.eps).repeat_interleave(grouped[2], dim=1)  # [R, C]
        scale = inverse * norm.weight.double()
        shift = norm.bias.double() - mean.repeat_interleave(grouped[2], dim=1) * scale
        kept = application_type(norm.weight.dtype)
        return Scaling(scale.to(kept)[:, :, None, None], shift.to(kept)[:, :, None, None])


def _moments_cast(x: torch.Tensor, kept: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sums and sums of squares, [N, C], by way of a copy in the type ``kept``.

    On a CPU each reduction in another type would make that copy for itself, and a norm is not vectorised.
    """
    wide = x.to(kept)
    return wide.sum(dim=(2, 3)), wide.square().sum(dim=(2, 3))


def _moments_read(x: torch.Tensor, kept: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same without a copy: on a GPU both reductions cast what they read."""
    norms: torch.Tensor = torch.linalg.vector_norm(x, dim=(2, 3), dtype=kept)
    return x.sum(dim=(2, 3), dtype=kept), norms.double().square()


def normalise_silu(x: torch.Tensor, scaling: Scaling, out: torch.Tensor) -> None:
    """Write ``silu(x * scale + shift)`` to ``out``, which may be ``x``."""
    # Product and sum are made in the scaling's type, which is the wider one, and rounded to out's once.
    torch.addcmul(scaling.shift, x, scaling.scale, out=out)
    torch.nn.functional.silu(out, inplace=True)
