"""The still: prompt to SDXL latents to pixels. Order and constants: docs, pipeline 2 and 3.5."""

from dataclasses import dataclass

import torch

from node.job.spec import JobSpec
from node.pipeline import finite, pixels, samplers, schedules
from node.pipeline.guidance import still_denoiser
from node.pipeline.models import Models
from node.pipeline.noise import Noise
from node.pipeline.profiles import Profile
from node.pipeline.sampling import SDXL
from node.pipeline.text import NEGATIVE_PROMPT, Conditioning, encode

LATENT_CHANNELS = 4
PIXELS_PER_LATENT = 8
_LATENT_SCALE = 0.13025


def latent_shape(spec: JobSpec, profile: Profile) -> tuple[int, int, int, int]:
    """Return the shape of all stills' latents, [B, 4, h, w]."""
    side = profile.still_size // PIXELS_PER_LATENT
    return spec.batching, LATENT_CHANNELS, side, side


@dataclass(frozen=True, slots=True)
class Prompts:
    """The conditioning of the job's prompt and of the negative one."""

    positive: Conditioning
    negative: Conditioning

    def parts(self) -> tuple[torch.Tensor, ...]:
        """Return its tensors in the order in which their numbers are hashed."""
        return tuple(part for one in (self.positive, self.negative) for part in (one.context, one.pooled))


def conditioning(models: Models, spec: JobSpec) -> Prompts:
    """Return what the still is conditioned on. Raises NotFinite if it becomes NaN or infinite."""
    return Prompts(*(_conditioning(models, text) for text in (spec.prompt, NEGATIVE_PROMPT)))


def sample_latents(
    models: Models, profile: Profile, spec: JobSpec, prompts: Prompts, callback: samplers.StepCallback
) -> torch.Tensor:
    """Return the latents of all stills of the job, [B, 4, h, w] float32, as the sampler leaves them.

    Raises NotFinite, with the step, if the latents become NaN or infinite.
    """
    denoise = still_denoiser(
        models.still_unet, prompts.positive, prompts.negative, spec.batching, profile.still_size
    )
    noise = Noise(spec.seed)
    sigmas = schedules.sigmas(spec.scheduler, spec.steps, SDXL, spec.sampler)
    x = SDXL.start(noise.initial(latent_shape(spec, profile)), sigmas).to(models.device)
    return finite.sample("still", spec.sampler, denoise, x, sigmas, noise, callback)


def decode(models: Models, latents: torch.Tensor) -> torch.Tensor:
    """Return the stills as [B, H, W, 3] float32 in [0, 1]; one image at a time bounds the memory.

    Raises NotFinite, with the number of the still, if a picture becomes NaN or infinite.
    """
    return torch.cat([_decode_one(models, row[None], index) for index, row in enumerate(latents)])


def _conditioning(models: Models, text: str) -> Conditioning:
    conditioning = encode(text, models.vocabulary, models.large, models.giant)
    for part in (conditioning.context, conditioning.pooled):
        finite.check(part, "still", "text conditioning")
    return conditioning


def _decode_one(models: Models, latents: torch.Tensor, index: int) -> torch.Tensor:
    vae = models.still_vae
    # Divided in float32: the VAE's type would round the quotient of two rounded numbers.
    x = (latents.to(models.device, torch.float32) / _LATENT_SCALE).to(vae.dtype)
    decoded = vae.decode(x, return_dict=False)[0]
    finite.check(decoded, "still decode", f"still {index + 1}")
    return pixels.from_decoder(decoded)
