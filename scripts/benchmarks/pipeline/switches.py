"""The profile a leg stands for, and torch's switches set as the pipeline sets them: for every contender."""

import torch

from node.pipeline import determinism
from node.pipeline.profiles import Profile
from scripts.benchmarks.pipeline.networks import Scale


def vae_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return what our VAEs compute in beside UNets of ``dtype``: float16 would overflow in them."""
    return torch.bfloat16 if dtype == torch.float16 else dtype


def profile(scale: Scale, device: torch.device, dtype: torch.dtype, kernels: str) -> Profile:
    """Return a profile of this size and device; it names no weights, so it belongs to no class."""
    return Profile(
        name=f"bench-{scale.name}",
        made_here=True,
        device=device.type,
        precision=str(dtype).removeprefix("torch."),
        vae_precision=str(vae_dtype(dtype)).removeprefix("torch."),
        kernels=kernels,
        memory_gb=0.0,
        swapped_memory_gb=0.0,
        serves=(),
        threads=1,
        still_size=scale.still_size,
        clip_width=scale.clip_width,
        clip_height=scale.clip_height,
        frames=scale.frames,
    )


def configure(scale: Scale, device: torch.device, dtype: torch.dtype, kernels: str) -> None:
    """Set the switches of the whole process before the first network is made."""
    determinism.configure(profile(scale, device, dtype, kernels))
