"""The networks of a profile, read from a directory in Hugging Face layout. Never asks a hub.

Owns the loading and the corrections the diffusers classes need (docs, pipeline 2 and 10.1); what the
networks compute with is in ``text``, ``guidance``, ``still`` and ``clip``.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig, CLIPVisionConfig
from transformers.models.clip.modeling_clip import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
)
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from node.errors import Fatal
from node.pipeline.profiles import Profile
from node.pipeline.text import TextEncoder

_PRECISIONS = {"float32": torch.float32}
_VISION_KEPT = ("pre_layrnorm", "post_layernorm", "visual_projection")
_TRAINED_EPS = 1e-5


class ClipVocabulary:
    """The CLIP byte-pair vocabulary in ``vocab.json`` and ``merges.txt``."""

    def __init__(self, directory: Path) -> None:
        vocabulary = json.loads((directory / "vocab.json").read_text(encoding="utf-8"))
        lines = (directory / "merges.txt").read_text(encoding="utf-8").splitlines()
        merges: Any = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
        self._tokenizer: Any = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
        self.begin: int = self._tokenizer.bos_token_id
        self.end: int = self._tokenizer.eos_token_id

    def encode(self, word: str) -> list[int]:
        """Return the ids of one word, lower-cased, without begin and end."""
        ids: list[int] = self._tokenizer(word, add_special_tokens=False, verbose=False)["input_ids"]
        return ids


@dataclass(frozen=True, slots=True)
class Models:
    """Every network of a profile on its device, ready for inference."""

    vocabulary: ClipVocabulary
    large: TextEncoder
    giant: TextEncoder
    still_unet: Any
    still_vae: Any
    clip_unet: Any
    clip_vae: Any
    vision: Any
    device: torch.device

    @property
    def position_table(self) -> tuple[int, int]:
        """The shape of the vision model's position table, which the noise of 5.4 steps over."""
        config = self.vision.config
        return (config.image_size // config.patch_size) ** 2 + 1, config.hidden_size


def load_models(profile: Profile, directory: Path) -> Models:
    """Load all networks. Raises Fatal if the device or a file is missing or does not fit its network."""
    if profile.device == "cuda" and not torch.cuda.is_available():
        raise Fatal(f"profile {profile.name} needs a CUDA device and torch {torch.__version__} sees none")
    device, dtype = torch.device(profile.device), _PRECISIONS[profile.precision]
    still, clip = directory / "still", directory / "clip"
    try:
        vocabulary = ClipVocabulary(still / "tokenizer")
        large = _fill(CLIPTextModel(_clip_text(still / "text_encoder")), still / "text_encoder")
        giant = _fill(
            CLIPTextModelWithProjection(_clip_text(still / "text_encoder_2")), still / "text_encoder_2"
        )
        vision_config = CLIPVisionConfig(**_config(clip / "image_encoder"))
        vision = _fill(CLIPVisionModelWithProjection(vision_config), clip / "image_encoder")
        networks = {
            "still_unet": _fill(_build(UNet2DConditionModel, still / "unet"), still / "unet"),
            "still_vae": _fill(_build(AutoencoderKL, still / "vae"), still / "vae"),
            "clip_unet": _fill(_build(UNetSpatioTemporalConditionModel, clip / "unet"), clip / "unet"),
            "clip_vae": _fill(_build(AutoencoderKLTemporalDecoder, clip / "vae"), clip / "vae"),
        }
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise Fatal(f"the models in {directory} cannot be loaded, check or remove them: {error}") from error
    for encoder in (large, giant, vision):
        _round_to_half(encoder)
    _correct_norms(networks["clip_unet"])
    return Models(
        vocabulary=vocabulary,
        large=TextEncoder(large.to(device), padding=vocabulary.end),
        giant=TextEncoder(giant.to(device), padding=0),
        vision=vision.to(device),
        device=device,
        # The plain module's method: the diffusers override warns of a case that is not ours.
        **{name: nn.Module.to(network, device, dtype) for name, network in networks.items()},
    )


def _config(directory: Path) -> dict[str, Any]:
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise TypeError(f"{directory / 'config.json'} is not an object")
    return config


def _clip_text(directory: Path) -> CLIPTextConfig:
    return CLIPTextConfig(**_config(directory))


def _build(kind: Any, directory: Path) -> nn.Module:
    network: nn.Module = kind.from_config(_config(directory))
    return network


def _fill(network: nn.Module, directory: Path) -> Any:
    """Load every weight, none missing and none left over, and freeze the network."""
    (weights,) = sorted(directory.glob("*.safetensors"))
    network.load_state_dict(load_file(weights), strict=True)
    return network.eval().requires_grad_(requires_grad=False)


def _round_to_half(encoder: nn.Module) -> None:
    """Round weights to float16 and keep them as float32, all but those the reference never rounds."""
    for name, weight in encoder.named_parameters():
        if "embedding" in name or any(kept in name for kept in _VISION_KEPT):
            continue
        weight.data = weight.data.half().float()


def _correct_norms(unet: nn.Module) -> None:
    """Give every residual block of the video UNet the epsilon it was trained with."""
    for name, module in unet.named_modules():
        if isinstance(module, nn.GroupNorm) and (
            ".spatial_res_block." in name or ".temporal_res_block." in name
        ):
            module.eps = _TRAINED_EPS
