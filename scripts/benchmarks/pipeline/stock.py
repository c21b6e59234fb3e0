"""diffusers' own pipelines, as a user runs them."""

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from scripts.benchmarks.pipeline.networks import Scale, normals

Tensor = torch.Tensor
STILL_GUIDANCE = 8.0
CLIP_GUIDANCE = (1.0, 2.5)
_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_CLIP_SCHEDULER = {
    **_BETAS,
    "prediction_type": "v_prediction",
    "sigma_min": 0.002,
    "sigma_max": 700.0,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "use_karras_sigmas": True,
    "steps_offset": 1,
}


def at_step_end(tell: Callable[[], None]) -> Callable[..., dict[str, Tensor]]:
    """Return a ``callback_on_step_end`` for diffusers' pipelines that changes nothing and tells."""

    def callback(_pipe: Any, _step: int, _time: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        tell()
        return tensors

    return callback


def picture(width: int, height: int) -> Image.Image:
    """Return a picture with gradients, edges and grain."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = np.stack([across, down, (np.sin(40 * across * down) + 1) / 2], axis=-1)
    grain = np.random.default_rng(7).normal(0, 0.02, waves.shape)
    return Image.fromarray((255 * np.clip(waves + grain, 0, 1)).astype(np.uint8))


def _quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def still_pipeline(unet: Any, vae: Any, *, ancestral: bool = True) -> Any:
    """Return StableDiffusionXLPipeline without text encoders; it is given the embeddings."""
    from diffusers import EulerAncestralDiscreteScheduler, EulerDiscreteScheduler, StableDiffusionXLPipeline

    kind = EulerAncestralDiscreteScheduler if ancestral else EulerDiscreteScheduler
    scheduler = kind(**_BETAS, steps_offset=1, timestep_spacing="leading")
    return _quiet(
        StableDiffusionXLPipeline(vae, None, None, None, None, unet, scheduler, add_watermarker=False)
    )


def clip_pipeline(unet: Any, vae: Any, vision: Any) -> Any:
    """Return StableVideoDiffusionPipeline with the scheduler that SVD-XT is published with."""
    from diffusers import EulerDiscreteScheduler, StableVideoDiffusionPipeline
    from transformers import CLIPImageProcessor

    with warnings.catch_warnings():
        # Without torchvision the image processor tells that it uses Pillow, which is as well.
        warnings.simplefilter("ignore")
        processor = CLIPImageProcessor(crop_size=224, size=224)
    scheduler = EulerDiscreteScheduler(**_CLIP_SCHEDULER)
    return _quiet(StableVideoDiffusionPipeline(vae, vision, unet, scheduler, processor))


def embeddings(scale: Scale, unet: Any) -> dict[str, Tensor]:
    """Return the prompt's and the negative prompt's embeddings in the form the still's pipeline takes."""
    config = scale.configs["still/unet"]
    pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
    place = {"device": unet.device, "dtype": unet.dtype}
    return {
        "prompt_embeds": normals(1, 77, config["cross_attention_dim"], seed=11).to(**place),
        "negative_prompt_embeds": normals(1, 77, config["cross_attention_dim"], seed=12).to(**place),
        "pooled_prompt_embeds": normals(1, pooled, seed=13).to(**place),
        "negative_pooled_prompt_embeds": normals(1, pooled, seed=14).to(**place),
    }


def run_still(
    pipe: Any,
    scale: Scale,
    prompt: dict[str, Tensor],
    steps: int,
    probe: Callable[..., Any] | None = None,
    *,
    decode: bool = False,
) -> Any:
    """Return the latents [1, 4, h, w], or a list of one picture."""
    unet = prompt["prompt_embeds"]
    result = pipe(
        **prompt,
        height=scale.still_size,
        width=scale.still_size,
        num_inference_steps=steps,
        guidance_scale=STILL_GUIDANCE,
        latents=normals(*scale.still_latents, seed=42).to(unet.device, unet.dtype),
        generator=torch.Generator().manual_seed(42),
        output_type="pil" if decode else "latent",
        callback_on_step_end=probe,
    )
    return result.images


def run_clip(
    pipe: Any,
    scale: Scale,
    still: Any,
    steps: int,
    probe: Callable[..., Any] | None = None,
    *,
    chunk: int | None = None,
) -> Tensor:
    """Return the latents [1, F, 4, h, w], or the frames [1, F, 3, H, W] if decoded ``chunk`` at a time."""
    result = pipe(
        still,
        height=scale.clip_height,
        width=scale.clip_width,
        num_frames=scale.frames,
        num_inference_steps=steps,
        min_guidance_scale=CLIP_GUIDANCE[0],
        max_guidance_scale=CLIP_GUIDANCE[1],
        noise_aug_strength=0.0,
        fps=6,
        latents=normals(1, *scale.clip_latents, seed=42).to(pipe.unet.dtype),
        generator=torch.Generator().manual_seed(42),
        decode_chunk_size=chunk,
        output_type="latent" if chunk is None else "pt",
        callback_on_step_end=probe,
    )
    frames: Tensor = result.frames
    return frames


class StubUnet(nn.Module):
    """Answers at once with the same tensor: what is left of a step's time is the loop's own."""

    def __init__(self, output: Tensor, *, channels: int, text_width: int, time_width: int) -> None:
        super().__init__()
        self._output = output
        self.config = SimpleNamespace(
            in_channels=channels,
            sample_size=128,
            num_frames=len(output),
            addition_time_embed_dim=256,
            time_cond_proj_dim=None,
            cross_attention_dim=text_width,
        )
        self.add_embedding = SimpleNamespace(linear_1=SimpleNamespace(in_features=time_width))

    @property
    def dtype(self) -> torch.dtype:
        """The type that latents are cast to."""
        return self._output.dtype

    @property
    def device(self) -> torch.device:
        """Where the latents are."""
        return self._output.device

    def forward(self, *_arguments: Any, **_keywords: Any) -> tuple[Tensor]:
        """Return the tensor."""
        return (self._output,)
