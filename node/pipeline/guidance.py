"""Classifier-free guidance: networks and conditioning become one ``denoise(x, sigma)``.

Rules: docs, pipeline 6. Both passes go through the network as one batch; they are combined on denoised
estimates in float32.
"""

import math
from typing import Any

import torch

from node.pipeline.samplers import Denoise
from node.pipeline.sampling import SDXL, SVD
from node.pipeline.text import Conditioning

Tensor = torch.Tensor
STILL_SCALE = 8.0
CLIP_SCALE_FIRST, CLIP_SCALE_LAST = 1.0, 2.5
_MOTION_FPS = 6
_MOTION_BUCKET = 127
_AUGMENTATION = 0.0


def still_denoiser(
    unet: Any, positive: Conditioning, negative: Conditioning, batch: int, size: int
) -> Denoise:
    """Return the guided SDXL for latents [batch, 4, size/8, size/8]; ``size`` in pixels."""
    length = math.lcm(positive.context.shape[1], negative.context.shape[1])
    # Repeating all tokens leaves attention over them unchanged, so both passes get one common length.
    context = _rows(
        [one.context.repeat(1, length // one.context.shape[1], 1) for one in (negative, positive)], batch
    ).to(unet.dtype)
    extra = {
        "text_embeds": _rows([negative.pooled, positive.pooled], batch).to(unet.dtype),
        "time_ids": context.new_tensor([[size, size, 0, 0, size, size]]).repeat(2 * batch, 1),
    }

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        shown = SDXL.scale_input(x, sigma).to(unet.dtype).repeat(2, 1, 1, 1)
        time = SDXL.timestep(sigma).repeat(2)
        output = unet(shown, time, context, added_cond_kwargs=extra, return_dict=False)[0]
        without, with_prompt = (SDXL.denoised(x, half, sigma) for half in output.chunk(2))
        return without + STILL_SCALE * (with_prompt - without)

    return denoise


def clip_denoiser(unet: Any, vision: Tensor, still_latent: Tensor, frames: int) -> Denoise:
    """Return the guided SVD for latents [frames, 4, h, w].

    ``vision`` [1, C] is the still's image embedding, ``still_latent`` [1, 4, h, w] its unscaled latent; the
    negative pass gets zeros for both.
    """
    context = torch.stack([torch.zeros_like(vision), vision]).to(unet.dtype)  # [2, 1, C]
    concat = torch.stack([torch.zeros_like(still_latent), still_latent])
    concat = concat.expand(-1, frames, -1, -1, -1)  # [2, F, 4, h, w]
    ids = context.new_tensor([[_MOTION_FPS - 1, _MOTION_BUCKET, _AUGMENTATION]]).repeat(2, 1)
    ramp = torch.linspace(CLIP_SCALE_FIRST, CLIP_SCALE_LAST, frames).reshape(frames, 1, 1, 1)
    ramp = ramp.to(still_latent.device)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        noisy = SVD.scale_input(x, sigma).expand(2, -1, -1, -1, -1)
        shown = torch.cat([noisy, concat], dim=2).to(unet.dtype)  # [2, F, 8, h, w]
        output = unet(shown, SVD.timestep(sigma[0]), context, ids, return_dict=False)[0]
        without, with_still = (SVD.denoised(x, half, sigma) for half in output)
        return without + ramp * (with_still - without)

    return denoise


def _rows(pair: list[Tensor], batch: int) -> Tensor:
    return torch.cat([one.repeat_interleave(batch, dim=0) for one in pair])
