"""Pixels: resizing and cropping the still for the clip, and the one conversion to 8 bits.

Images are [B, H, W, 3] float32 in [0, 1]; what goes into a network is [B, 3, H, W]. Rules: docs, pipeline
9.1, 9.2 and 10.
"""

import torch
from torch.nn import functional

Tensor = torch.Tensor
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def to_uint8(x: Tensor) -> Tensor:
    """Return ``x`` as uint8 in the same shape: scaled by 255 and cut off, never rounded.

    A value that is not a number becomes 0 on every device alike; ``still`` and ``clip`` let none get here.
    """
    return torch.nan_to_num(255.0 * x.float(), nan=0.0).clamp(0.0, 255.0).to(torch.uint8)


def from_decoder(decoded: Tensor) -> Tensor:
    """Return decoder output [B, 3, H, W] in about [-1, 1] as an image [B, H, W, 3] in [0, 1]."""
    return ((decoded.float() + 1.0) / 2.0).clamp(0.0, 1.0).movedim(1, -1).contiguous()


def clip_vision_input(image: Tensor, size: int = 224) -> Tensor:
    """Return [B, 3, size, size], normalised for CLIP: short side to ``size``, then the centre square."""
    x = image[..., :3].movedim(-1, 1).float()
    height, width = x.shape[-2:]
    if (height, width) != (size, size):
        scale = size / min(height, width)
        target = (round(scale * height), round(scale * width))
        x = functional.interpolate(x, target, mode="bicubic", antialias=True, align_corners=False)
        top, left = (target[0] - size) // 2, (target[1] - size) // 2
        x = x[..., top : top + size, left : left + size]
    x = torch.round(torch.clamp(255.0 * x, 0, 255)) / 255.0
    mean = torch.tensor(_CLIP_MEAN, device=x.device).reshape(3, 1, 1)
    std = torch.tensor(_CLIP_STD, device=x.device).reshape(3, 1, 1)
    return (x - mean) / std


def video_init(image: Tensor, width: int = 1024, height: int = 576) -> Tensor:
    """Return the still as the video encoder reads it: [B, 3, height, width] in [-1, 1].

    The middle is cut to the clip's aspect, then resized bilinearly without antialiasing.
    """
    x = image[..., :3].movedim(-1, 1).float()
    old_height, old_width = x.shape[-2:]
    old_aspect, new_aspect = old_width / old_height, width / height
    left = top = 0
    if old_aspect > new_aspect:
        left = round((old_width - old_width * (new_aspect / old_aspect)) / 2)
    elif old_aspect < new_aspect:
        top = round((old_height - old_height * (old_aspect / new_aspect)) / 2)
    x = x[..., top : old_height - top, left : old_width - left]
    x = functional.interpolate(x, (height, width), mode="bilinear", align_corners=False)
    return x * 2.0 - 1.0
