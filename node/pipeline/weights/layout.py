"""How converted weights are kept: one folder per network, each tensor in the kind of numbers it is used as.

Imports no torch. What is rounded to half and what the reference keeps in float32 is docs, pipeline 2.
"""

from collections.abc import Collection, Mapping
from typing import Any

from node.pipeline.checkpoints import architectures
from node.pipeline.profiles import Profile
from node.pipeline.weights.sources import Group

RECIPE = "1"
"""Raise it when the conversion gives other bytes: weights converted before are then asked for again."""
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
RECORD = "weights.json"

ENCODERS = ("still/text_encoder", "still/text_encoder_2", "clip/image_encoder")
_VISION_KEPT = ("pre_layrnorm", "post_layernorm", "visual_projection")
_ENCODER_BYTES = 2.25
_BYTES: Mapping[str, float] = {"float32": 4, "float16": 2, "bfloat16": 2}


def rounds_to_half(tensor: str) -> bool:
    """Return whether the reference rounds this tensor of an encoder to float16 (docs, pipeline 2)."""
    return "embedding" not in tensor and not any(kept in tensor for kept in _VISION_KEPT)


def stored_dtype(path: str, tensor: str, *, precision: str, vae_precision: str) -> str:
    """Return the kind of numbers that a tensor of the network at ``path`` is kept in.

    It depends on the names alone, never on what the source holds, so that equal weights give equal bytes.
    """
    if path in ENCODERS:
        return "float16" if rounds_to_half(tensor) else "float32"
    return vae_precision if path.endswith("/vae") else precision


def networks(profile: Profile) -> tuple[str, ...]:
    """Return the paths of the profile's networks, ``still/unet`` and so on."""
    return tuple(
        f"{group}/{network}" for group, source in profile.sources.items() for network in source.networks
    )


def expected_files(profile: Profile) -> tuple[str, ...]:
    """Return every file of a complete profile by its path in the profile's directory."""
    small = tuple(
        f"{group}/{file.part}/{file.name}"
        for group, source in profile.sources.items()
        for file in source.small_files
    )
    return (*small, *(f"{path}/{name}" for path in networks(profile) for name in (CONFIG, WEIGHTS)))


def converted_bytes(
    profile: Profile, configs: Mapping[str, Mapping[str, Any]], groups: Collection[Group]
) -> int:
    """Return about how much disk the converted weights take; networks of an unknown size count nothing."""
    total = 0.0
    for path in networks(profile):
        if path.partition("/")[0] not in groups or configs.get(path) != architectures.CONFIGS.get(path):
            continue
        each = _ENCODER_BYTES if path in ENCODERS else _BYTES[stored_dtype_of(profile, path)]
        total += each * architectures.SIZES[path]
    return int(total)


def stored_dtype_of(profile: Profile, path: str) -> str:
    """Return the kind of numbers of a UNet's or VAE's tensors in this profile."""
    return stored_dtype(path, "", precision=profile.precision, vae_precision=profile.vae_precision)
