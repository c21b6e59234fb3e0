"""From a path in a profile and a configuration to the network's class and what its state consists of."""

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig, CLIPVisionConfig
from transformers.models.clip.modeling_clip import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
)

DIFFUSERS: dict[str, Any] = {
    "still/unet": UNet2DConditionModel,
    "still/vae": AutoencoderKL,
    "clip/unet": UNetSpatioTemporalConditionModel,
    "clip/vae": AutoencoderKLTemporalDecoder,
}
TRANSFORMERS: dict[str, tuple[Any, Any]] = {
    "still/text_encoder": (CLIPTextModel, CLIPTextConfig),
    "still/text_encoder_2": (CLIPTextModelWithProjection, CLIPTextConfig),
    "clip/image_encoder": (CLIPVisionModelWithProjection, CLIPVisionConfig),
}


def build(path: str, config: dict[str, Any]) -> nn.Module:
    """Construct the network at ``path`` on the current default device, with its constructor's weights."""
    if path in TRANSFORMERS:
        kind, settings = TRANSFORMERS[path]
        network: nn.Module = kind(settings(**config))
    else:
        network = DIFFUSERS[path].from_config(config)
    return network


def build_empty(path: str, config: dict[str, Any]) -> nn.Module:
    """Construct the network at ``path`` on the meta device: shapes without memory."""
    with torch.device("meta"):
        return build(path, config)


def expected_shapes(path: str, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor in the state of the network at ``path``, by its name there."""
    return {name: tuple(tensor.shape) for name, tensor in build_empty(path, config).state_dict().items()}
