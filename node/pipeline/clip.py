"""The clip: one still to SVD latents to 25 frames. Order and constants: docs, pipeline 2, 9 and 10."""

from dataclasses import dataclass

import torch

from node.job.spec import JobSpec
from node.pipeline import finite, pixels, samplers, schedules
from node.pipeline.acceleration.decoder import decode_clip
from node.pipeline.guidance import clip_denoiser
from node.pipeline.models import Models
from node.pipeline.noise import Noise, posterior_noise
from node.pipeline.profiles import Profile
from node.pipeline.sampling import SVD
from node.pipeline.still import LATENT_CHANNELS, PIXELS_PER_LATENT, latent_shape

_LATENT_SCALE = 0.18215


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What a clip is conditioned on: the still as CLIP sees it, [1, C], and its latent, [1, 4, h, w]."""

    vision: torch.Tensor
    encoded: torch.Tensor

    def parts(self) -> tuple[torch.Tensor, ...]:
        """Return its tensors in the order in which their numbers are hashed."""
        return self.vision, self.encoded


def conditioning(
    models: Models, profile: Profile, spec: JobSpec, stills: torch.Tensor, index: int
) -> Conditioning:
    """Return what the clip of still ``index`` (from 0) is conditioned on.

    Raises NotFinite if it becomes NaN or infinite.
    """
    still = stills[index : index + 1].to(models.device)
    vision = models.vision(pixel_values=pixels.clip_vision_input(still)).image_embeds
    encoded = _encode(models, profile, spec, still, index)
    for part in (vision, encoded):
        finite.check(part, "clip", "conditioning on the still")
    return Conditioning(vision, encoded)


def sample_latents(
    models: Models,
    profile: Profile,
    spec: JobSpec,
    conditioned: Conditioning,
    callback: samplers.StepCallback,
) -> torch.Tensor:
    """Return the latents of a clip, [F, 4, h, w] float32.

    Raises NotFinite, with the step, if the latents become NaN or infinite.
    """
    denoise = clip_denoiser(models.clip_unet, conditioned.vision, conditioned.encoded, profile.frames)
    noise = Noise(spec.video_seed)
    sigmas = schedules.sigmas(spec.video_scheduler, spec.video_steps, SVD, spec.video_sampler)
    initial = noise.initial((profile.frames, LATENT_CHANNELS, *_latent_size(profile)))
    x = SVD.start(initial, sigmas).to(models.device)
    return finite.sample("clip", spec.video_sampler, denoise, x, sigmas, noise, callback)


def decode(models: Models, latents: torch.Tensor) -> torch.Tensor:
    """Return the frames as [F, H, W, 3] uint8, decoded in one call: all temporal mixing happens inside it.

    Raises NotFinite if a frame becomes NaN or infinite.
    """
    vae = models.clip_vae
    # Divided in float32: the VAE's type would round the quotient of two rounded numbers.
    x = (latents.to(models.device, torch.float32) / _LATENT_SCALE).to(vae.dtype)
    decoded = decode_clip(vae, x)
    finite.check(decoded, "clip decode", f"all {len(decoded)} frames")
    return pixels.to_uint8(pixels.from_decoder(decoded))


def _encode(models: Models, profile: Profile, spec: JobSpec, still: torch.Tensor, index: int) -> torch.Tensor:
    """Return a sample of the still's latent, [1, 4, h, w] float32: not the mode, and never scaled."""
    vae = models.clip_vae
    shown = pixels.video_init(still, profile.clip_width, profile.clip_height).to(vae.dtype)
    posterior = vae.encode(shown).latent_dist
    # The stream is that of a joint draw for all stills, of which this clip takes its row.
    rows = posterior_noise(
        spec.seed,
        latent_shape(spec, profile),
        models.position_table,
        (spec.batching, LATENT_CHANNELS, *_latent_size(profile)),
    )
    noise = rows[index : index + 1].to(models.device)
    encoded: torch.Tensor = posterior.mean.float() + posterior.std.float() * noise
    return encoded


def _latent_size(profile: Profile) -> tuple[int, int]:
    return profile.clip_height // PIXELS_PER_LATENT, profile.clip_width // PIXELS_PER_LATENT
