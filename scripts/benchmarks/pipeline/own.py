"""Our own networks and loops as the pipeline composes them, on the same random weights."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from node.pipeline import finite, samplers, schedules
from node.pipeline.acceleration.compilation import Runner
from node.pipeline.acceleration.constants import Binding
from node.pipeline.acceleration.encoders import store_half
from node.pipeline.acceleration.unets import prepare_clip_unet, prepare_still_unet
from node.pipeline.acceleration.vae_attention import prepare_vae
from node.pipeline.guidance import clip_denoiser, still_denoiser
from node.pipeline.models import ClipVocabulary, Models
from node.pipeline.noise import Noise
from node.pipeline.profiles import Profile
from node.pipeline.sampling import SDXL, SVD, Sampling
from node.pipeline.text import Conditioning, TextEncoder
from node.pipeline.weights.layout import ENCODERS
from scripts.benchmarks.pipeline import files
from scripts.benchmarks.pipeline.measuring import digest
from scripts.benchmarks.pipeline.networks import Scale, build, normals

Tensor = torch.Tensor
_SEED = 42
_SCHEDULER = "karras"


def still_network(scale: Scale, device: torch.device, dtype: torch.dtype, kernels: str) -> Any:
    """Return SDXL's UNet, rewritten and ready to be called."""
    unet = build(scale, "still/unet", device, dtype)
    prepare_still_unet(unet)
    return Runner(unet, kernels)


def clip_network(scale: Scale, device: torch.device, dtype: torch.dtype, kernels: str) -> Any:
    """Return SVD's UNet, rewritten and ready to be called."""
    unet = build(scale, "clip/unet", device, dtype)
    prepare_clip_unet(unet)
    return Runner(unet, kernels)


class WatchedRunner(Runner):
    """A runner that can note what its network is shown: set ``seen`` to a list of hashes to fill."""

    seen: list[str] | None = None

    def __call__(self, sample: Tensor, timestep: Tensor, *arguments: Any, **named: Any) -> tuple[Tensor, ...]:
        """Return the network's output."""
        if self.seen is not None:
            self.seen.append(digest(sample))
        return super().__call__(sample, timestep, *arguments, **named)


@torch.inference_mode(mode=False)
def make_models(scale: Scale, profile: Profile) -> Models:
    """Return every network of a profile with random weights, prepared as the pipeline prepares them."""
    device, dtype = torch.device(profile.device), getattr(torch, profile.precision)
    vae_dtype = getattr(torch, profile.vae_precision)
    encoders = {}
    for path in ENCODERS:
        encoders[path] = build(scale, path, device, torch.float32)
        store_half(encoders[path])
    large, giant, vision = (encoders[path] for path in ENCODERS)
    unets = []
    for path, prepare in (("still/unet", prepare_still_unet), ("clip/unet", prepare_clip_unet)):
        unet = build(scale, path, device, dtype)
        prepare(unet)
        unets.append(WatchedRunner(unet, profile.kernels))
    vaes = [build(scale, path, device, vae_dtype) for path in ("still/vae", "clip/vae")]
    for vae in vaes:
        prepare_vae(vae)
    with tempfile.TemporaryDirectory() as folder:
        files.write_vocabulary(Path(folder))
        vocabulary = ClipVocabulary(Path(folder) / "still" / "tokenizer")
    return Models(
        vocabulary=vocabulary,
        large=TextEncoder(large, padding=vocabulary.end),
        giant=TextEncoder(giant, padding=0),
        still_unet=unets[0],
        still_vae=vaes[0],
        clip_unet=unets[1],
        clip_vae=vaes[1],
        vision=vision,
        device=device,
    )


def conditioning(prompt: dict[str, Tensor]) -> tuple[Conditioning, Conditioning]:
    """Return the positive and the negative conditioning of diffusers' embeddings."""
    return tuple(  # type: ignore[return-value]
        Conditioning(prompt[f"{sign}prompt_embeds"].float(), prompt[f"{pooled}pooled_prompt_embeds"].float())
        for sign, pooled in (("", ""), ("negative_", "negative_"))
    )


def still_call(network: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Callable[[], Tensor]:
    """Return one call of the rewritten SDXL for what the stock one is called with."""
    sample, time, context = arguments
    binding = Binding(_bindable(network), context=context, **keywords["added_cond_kwargs"])
    return _bound_call(network, binding, sample, time)


def clip_call(network: Any, arguments: tuple[Any, ...], frames: int) -> Callable[[], Tensor]:
    """Return one call of the rewritten SVD for what the stock one is called with."""
    sample, time, context, ids = arguments
    binding = Binding(_bindable(network), context=context, added_time_ids=ids[:1], frames=frames)
    return _bound_call(network, binding, sample, time)


def _bindable(network: Any) -> Any:
    return network.unet if isinstance(network, Runner) else network


def _bound_call(network: Any, binding: Binding, sample: Tensor, time: Tensor) -> Callable[[], Tensor]:
    def call() -> Tensor:
        binding.hold()
        output: Tensor = network(sample, time)[0]
        return output

    return call


def run_still(
    network: Any,
    scale: Scale,
    prompt: dict[str, Tensor],
    steps: int,
    callback: Callable[[int, int], None],
    *,
    sampler: str = "euler_ancestral",
) -> Tensor:
    """Return the still's latents [1, 4, h, w], watched for NaN as the pipeline watches them."""
    positive, negative = conditioning(prompt)
    denoise = still_denoiser(network, positive, negative, 1, scale.still_size)
    x = Noise(_SEED).initial(scale.still_latents).to(positive.context.device)
    return _sample(denoise, SDXL, x, steps, callback, sampler)


def run_clip(
    network: Any,
    scale: Scale,
    vision: Tensor,
    still_latent: Tensor,
    steps: int,
    callback: Callable[[int, int], None],
    *,
    sampler: str = "euler_ancestral",
) -> Tensor:
    """Return the clip's latents [F, 4, h, w], watched for NaN as the pipeline watches them."""
    denoise = clip_denoiser(network, vision, still_latent, scale.frames)
    x = Noise(_SEED).initial(scale.clip_latents).to(still_latent.device)
    return _sample(denoise, SVD, x, steps, callback, sampler)


def _sample(
    denoise: samplers.Denoise,
    sampling: Sampling,
    x: Tensor,
    steps: int,
    callback: Callable[[int, int], None],
    sampler: str,
) -> Tensor:
    sigmas = schedules.sigmas(_SCHEDULER, steps, sampling, sampler)
    guard = finite.Guard("bench", steps)
    latents = samplers.sample(
        sampler,
        guard.denoiser(denoise),
        sampling.start(x, sigmas),
        sigmas,
        Noise(_SEED + 1),
        guard.callback(callback),
    )
    return guard.checked(latents)


def clip_conditioning(scale: Scale, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return an image embedding [1, C] and a still's latent [1, 4, h, w] of random numbers."""
    _, channels, height, width = scale.clip_latents
    vision = normals(1, scale.configs["clip/unet"]["cross_attention_dim"], seed=21)
    return vision.to(device), normals(1, channels, height, width, seed=22).to(device)
