"""Classifier-free guidance: networks and conditioning become one ``denoise(x, sigma)``.

Rules: docs, pipeline 6. Both passes go through the network as one batch; they are combined on denoised
estimates in float32. A network is a diffusers UNet, a prepared one, or the ``Runner`` of either; what a
prepared one can compute once per job is computed when the denoiser is made.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from node.pipeline.acceleration.compilation import Runner
from node.pipeline.acceleration.constants import Binding
from node.pipeline.acceleration.unets import ClipUNet, StillUNet
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
    """Return the guided SDXL for latents [batch, 4, size/8, size/8]; ``size`` in pixels.

    Denoisers of several jobs may be called in turns, each keeps its own conditioning.
    """
    dtype = unet.dtype
    length = math.lcm(positive.context.shape[1], negative.context.shape[1])
    # Repeating all tokens leaves attention over them unchanged, so both passes get one common length.
    context = torch.cat(
        [one.context.repeat(1, length // one.context.shape[1], 1) for one in (negative, positive)]
    ).to(dtype)
    pooled = torch.cat([negative.pooled, positive.pooled]).to(dtype)
    ids = context.new_tensor([[size, size, 0, 0, size, size]]).repeat(2, 1)
    predict = _still_step(unet, context, pooled, ids, batch)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        shown, time = SDXL.scale_input(x, sigma).to(dtype), SDXL.timestep(sigma)
        # Joined, because repeat() costs several times as much for few rows.
        output = predict(torch.cat([shown, shown]), torch.cat([time, time]))
        without, with_prompt = SDXL.denoised(x, output.view(2, *x.shape), sigma).unbind()
        return torch.lerp(without, with_prompt, STILL_SCALE)

    return denoise


def clip_denoiser(unet: Any, vision: Tensor, still_latent: Tensor, frames: int) -> Denoise:
    """Return the guided SVD for latents [frames, 4, h, w].

    ``vision`` [1, C] is the still's image embedding, ``still_latent`` [1, 4, h, w] its unscaled latent; the
    negative pass gets zeros for both. Denoisers of several clips may be called in turns.
    """
    dtype = unet.dtype
    context = torch.stack([torch.zeros_like(vision), vision]).to(dtype)  # [2, 1, C]
    ids = context.new_tensor([[_MOTION_FPS - 1, _MOTION_BUCKET, _AUGMENTATION]])
    predict = _clip_step(unet, context, ids, frames)
    ramp = torch.linspace(CLIP_SCALE_FIRST, CLIP_SCALE_LAST, frames).reshape(frames, 1, 1, 1)
    ramp = ramp.to(still_latent.device)
    _, channels, height, width = still_latent.shape
    # [2, F, 8, h, w]: the still's channels are written once, the noisy ones in every step.
    shown = torch.zeros(2, frames, 2 * channels, height, width, dtype=dtype, device=still_latent.device)
    shown[1, :, channels:] = still_latent
    noisy = shown[:, :, :channels]

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        level = sigma[0]
        noisy.copy_(SVD.scale_input(x, level))
        without, with_still = SVD.denoised(x, predict(shown, SVD.timestep(level)), level).unbind()
        return without + ramp * (with_still - without)

    return denoise


def _still_step(
    unet: Any, context: Tensor, pooled: Tensor, ids: Tensor, batch: int
) -> Callable[[Tensor, Tensor], Tensor]:
    if isinstance(network := _network(unet), StillUNet):
        return _bound(unet, Binding(network, context=context, text_embeds=pooled, time_ids=ids))
    rows = context.repeat_interleave(batch, dim=0)
    extra = {
        "text_embeds": pooled.repeat_interleave(batch, dim=0),
        "time_ids": ids.repeat_interleave(batch, dim=0),
    }

    def predict(shown: Tensor, time: Tensor) -> Tensor:
        output: Tensor = unet(shown, time, rows, added_cond_kwargs=extra, return_dict=False)[0]
        return output

    return predict


def _clip_step(unet: Any, context: Tensor, ids: Tensor, frames: int) -> Callable[[Tensor, Tensor], Tensor]:
    if isinstance(network := _network(unet), ClipUNet):
        return _bound(unet, Binding(network, context=context, added_time_ids=ids, frames=frames))
    rows = ids.repeat(2, 1)

    def predict(shown: Tensor, time: Tensor) -> Tensor:
        output: Tensor = unet(shown, time, context, rows, return_dict=False)[0]
        return output

    return predict


def _bound(unet: Any, binding: Binding) -> Callable[[Tensor, Tensor], Tensor]:
    def predict(shown: Tensor, time: Tensor) -> Tensor:
        binding.hold()
        output: Tensor = unet(shown, time, return_dict=False)[0]
        return output

    return predict


def _network(unet: Any) -> Any:
    return unet.unet if isinstance(unet, Runner) else unet
