"""What is asked of whoever encodes a clip in another process. Imports nothing heavy."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ClipOrder:
    """A clip to be written in every container below ``folder``.

    ``frames`` is the safetensors file with its frames, [F, H, W, 3] uint8, under the name ``data``.
    """

    number: int
    frames: Path
    framerate: int
    folder: Path
    with_frames: bool


WriteClip = Callable[[ClipOrder], list[str]]
"""Carries out an order and returns the paths of the files from its folder. Raises OSError or JobFailed."""
