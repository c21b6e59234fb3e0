"""The clip: one still to SVD latents to 25 frames. Order and constants: docs, pipeline 2, 9 and 10."""

import torch

from node.job.spec import JobSpec
from node.pipeline import pixels, samplers, schedules
from node.pipeline.guidance import clip_denoiser
from node.pipeline.models import Models
from node.pipeline.noise import Noise, posterior_noise
from node.pipeline.profiles import Profile
from node.pipeline.sampling import SVD
from node.pipeline.still import LATENT_CHANNELS, PIXELS_PER_LATENT, latent_shape

_LATENT_SCALE = 0.18215


def sample_latents(
    models: Models,
    profile: Profile,
    spec: JobSpec,
    stills: torch.Tensor,
    index: int,
    callback: samplers.StepCallback,
) -> torch.Tensor:
    """Return the latents of the clip of still ``index`` (from 0), [F, 4, h, w] float32."""
    still = stills[index : index + 1].to(models.device)
    height, width = profile.clip_height // PIXELS_PER_LATENT, profile.clip_width // PIXELS_PER_LATENT
    vision = models.vision(pixel_values=pixels.clip_vision_input(still)).image_embeds  # [1, C]
    shown = pixels.video_init(still, profile.clip_width, profile.clip_height).to(models.clip_vae.dtype)
    posterior = models.clip_vae.encode(shown).latent_dist
    rows = posterior_noise(
        spec.seed,
        latent_shape(spec, profile),
        models.position_table,
        (spec.batching, LATENT_CHANNELS, height, width),
    )
    # A sample, not the mode, and never multiplied by the latent scale.
    encoded = posterior.mean.float() + posterior.std.float() * rows[index : index + 1].to(models.device)
    denoise = clip_denoiser(models.clip_unet, vision, encoded, profile.frames)
    noise = Noise(spec.video_seed)
    sigmas = schedules.sigmas(spec.video_scheduler, spec.video_steps, SVD, spec.video_sampler)
    x = SVD.start(noise.initial((profile.frames, LATENT_CHANNELS, height, width)), sigmas)
    return samplers.sample(spec.video_sampler, denoise, x.to(models.device), sigmas, noise, callback)


def decode(models: Models, latents: torch.Tensor) -> torch.Tensor:
    """Return the frames as [F, H, W, 3] uint8, decoded in one call: all temporal mixing happens inside it."""
    vae = models.clip_vae
    x = (latents / _LATENT_SCALE).to(models.device, vae.dtype)
    return pixels.to_uint8(pixels.from_decoder(vae.decode(x, num_frames=len(x), return_dict=False)[0]))
