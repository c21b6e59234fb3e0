"""How far the pictures of two executions are apart, frame by frame, where their bytes cannot be compared.

PSNR over all channels in dB; SSIM of Wang et al. 2004 (Gaussian window with sigma 1.5 cut at 11 pixels, K1
0.01, K2 0.03, population statistics), the mean over the three channels. Both are measures and prove nothing:
a threshold would be a guess. Runs in a process of its own (``measuring``), because the files are a
stranger's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from scipy.ndimage import gaussian_filter

Picture = NDArray[np.uint8]
"""[H, W, 3]."""

_MAX_FRAMES = 64
_SIGMA, _REACH = 1.5, 3.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class NotComparable(ValueError):
    """Two files that do not show pictures of one size and number."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One file of both executions. PSNR is None where every pixel is the same."""

    path: str
    frames: int
    psnr_db: float | None
    worst_psnr_db: float | None
    ssim: float
    worst_ssim: float

    def to_json(self) -> dict[str, Any]:
        """Return the measures by their names."""
        return {name: getattr(self, name) for name in self.__slots__}


def measure(path: str, result: Path, execution: Path) -> Measured:
    """Compare a file of a result with that of an execution of ours, which sets what is acceptable.

    Raises NotComparable, and OSError or ValueError for what cannot be decoded.
    """
    errors: list[float] = []
    likeness: list[float] = []
    for ours, theirs in zip_longest(_pictures(execution / path), _pictures(result / path)):
        if ours is None or theirs is None:
            raise NotComparable("the numbers of their frames differ")
        if ours.shape != theirs.shape:
            raise NotComparable(f"their sizes differ: {_size(theirs)} and {_size(ours)}")
        errors.append(mean_squared_error(theirs, ours))
        likeness.append(ssim(theirs, ours))
    return Measured(
        path=path,
        frames=len(errors),
        psnr_db=psnr_db(float(np.mean(errors))),
        worst_psnr_db=psnr_db(max(errors)),
        ssim=float(np.mean(likeness)),
        worst_ssim=min(likeness),
    )


def mean_squared_error(one: Picture, other: Picture) -> float:
    """Return the mean over all pixels and channels, in squared steps of 1/255."""
    return float(np.mean((one.astype(np.float64) - other) ** 2))


def psnr_db(squared_error: float) -> float | None:
    """Return the peak signal-to-noise ratio of 8-bit pictures, None for no noise at all."""
    return None if squared_error == 0 else float(10 * np.log10(255**2 / squared_error))


def ssim(one: Picture, other: Picture) -> float:
    """Return the mean structural similarity of two pictures of one size, 1 for equal ones."""
    x, y = one.astype(np.float64), other.astype(np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x = _windowed(x * x) - mean_x**2
    variance_y = _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    border = int(_REACH * _SIGMA + 0.5)
    # Where the window leaves the picture the values would be those of a reflection.
    inner = (luminance * structure)[border:-border, border:-border]
    return float(np.mean(inner if inner.size else luminance * structure))


def _windowed(channels: NDArray[np.float64]) -> NDArray[np.float64]:
    filtered: NDArray[np.float64] = gaussian_filter(channels, (_SIGMA, _SIGMA, 0), truncate=_REACH)
    return filtered


def _size(picture: Picture) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"


def _pictures(path: Path) -> Iterator[Picture]:
    shown = _film(path) if path.suffix == ".mp4" else _animation(path)
    for number, picture in enumerate(shown, 1):
        if number > _MAX_FRAMES:
            raise NotComparable(f"it has more than {_MAX_FRAMES} frames")
        yield picture


def _animation(path: Path) -> Iterator[Picture]:
    formats = ("PNG",) if path.suffix == ".png" else ("WEBP",)
    with Image.open(path, formats=formats) as image:
        for frame in ImageSequence.Iterator(image):
            yield np.asarray(frame.convert("RGB"))


def _film(path: Path) -> Iterator[Picture]:
    try:
        with av.open(str(path), format="mp4") as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"it is no film: {error}") from error
