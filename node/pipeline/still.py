"""The still: prompt to SDXL latents to pixels. Order and constants: docs, pipeline 2 and 3.5."""

import torch

from node.job.spec import JobSpec
from node.pipeline import pixels, samplers, schedules
from node.pipeline.guidance import still_denoiser
from node.pipeline.models import Models
from node.pipeline.noise import Noise
from node.pipeline.profiles import Profile
from node.pipeline.sampling import SDXL
from node.pipeline.text import NEGATIVE_PROMPT, encode

LATENT_CHANNELS = 4
PIXELS_PER_LATENT = 8
_LATENT_SCALE = 0.13025


def latent_shape(spec: JobSpec, profile: Profile) -> tuple[int, int, int, int]:
    """Return the shape of all stills' latents, [B, 4, h, w]."""
    side = profile.still_size // PIXELS_PER_LATENT
    return spec.batching, LATENT_CHANNELS, side, side


def sample_latents(
    models: Models, profile: Profile, spec: JobSpec, callback: samplers.StepCallback
) -> torch.Tensor:
    """Return the latents of all stills of the job, [B, 4, h, w] float32, as the sampler leaves them."""
    positive = encode(spec.prompt, models.vocabulary, models.large, models.giant)
    negative = encode(NEGATIVE_PROMPT, models.vocabulary, models.large, models.giant)
    denoise = still_denoiser(models.still_unet, positive, negative, spec.batching, profile.still_size)
    noise = Noise(spec.seed)
    sigmas = schedules.sigmas(spec.scheduler, spec.steps, SDXL, spec.sampler)
    x = SDXL.start(noise.initial(latent_shape(spec, profile)), sigmas).to(models.device)
    return samplers.sample(spec.sampler, denoise, x, sigmas, noise, callback)


def decode(models: Models, latents: torch.Tensor) -> torch.Tensor:
    """Return the stills as [B, H, W, 3] float32 in [0, 1]; one image at a time bounds the memory."""
    vae = models.still_vae
    rows = torch.unbind((latents / _LATENT_SCALE).to(models.device, vae.dtype)[:, None])
    return torch.cat([pixels.from_decoder(vae.decode(row, return_dict=False)[0]) for row in rows])
