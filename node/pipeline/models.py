"""The networks of a profile, read from its converted directory, ready for inference. Never asks a hub.

Owns the loading and the corrections the diffusers classes need (docs, pipeline 2 and 10.1); what the
networks compute with is in ``text``, ``guidance``, ``still`` and ``clip``. Nothing is ever unpickled.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from node.errors import Fatal, Misconfigured
from node.pipeline.acceleration.compilation import Runner
from node.pipeline.acceleration.convolution import to_channels_last
from node.pipeline.acceleration.encoders import store_half
from node.pipeline.acceleration.unets import prepare_clip_unet, prepare_still_unet
from node.pipeline.acceleration.vae_attention import prepare_vae
from node.pipeline.checkpoints.layout import open_component
from node.pipeline.checkpoints.networks import build_empty
from node.pipeline.checkpoints.safe import BadCheckpoint
from node.pipeline.memory import is_out_of_memory, require_device
from node.pipeline.profiles import Profile
from node.pipeline.text import TextEncoder
from node.pipeline.weights.layout import CONFIG, ENCODERS, stored_dtype_of
from node.pipeline.weights.records import problems_of

_MAX_VOCABULARY_BYTES = 16 << 20
_MAX_CONFIG_BYTES = 1 << 20
_TRAINED_EPS = 1e-5


class ClipVocabulary:
    """The CLIP byte-pair vocabulary in ``vocab.json`` and ``merges.txt``."""

    def __init__(self, directory: Path) -> None:
        vocabulary = json.loads(_read_text(directory / "vocab.json", _MAX_VOCABULARY_BYTES))
        lines = _read_text(directory / "merges.txt", _MAX_VOCABULARY_BYTES).splitlines()
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
    """Every network of a profile, ready for inference.

    ``device`` is where it computes: where every network is, or, if the two sets take turns, where one is
    brought. The UNets are ``Runner``s; the other networks are modules.
    """

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
    """Load all networks. Raises Fatal, naming the file, if the device or a file is missing or does not fit.

    With residency "swapped" they stay in the memory of the CPU until their turn.
    """
    require_device(profile)
    problems = problems_of(profile, directory)
    if problems:
        raise Misconfigured(f"profile {profile.name} is not complete: {'; '.join(problems)}")
    device = torch.device(profile.device)
    home = torch.device("cpu") if profile.residency == "swapped" else device
    try:
        vocabulary = ClipVocabulary(directory / "still" / "tokenizer")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Fatal(
            f"the vocabulary in {directory / 'still' / 'tokenizer'} cannot be read: {error}"
        ) from error
    large, giant, vision = (_encoder(directory, path, home) for path in ENCODERS)
    still_unet, clip_unet, still_vae, clip_vae = (
        _network(directory, path, home, _dtype(profile, path))
        for path in ("still/unet", "clip/unet", "still/vae", "clip/vae")
    )
    _correct_norms(clip_unet)
    prepare_still_unet(still_unet)
    prepare_clip_unet(clip_unet)
    for vae in (still_vae, clip_vae):
        prepare_vae(vae)
    if profile.kernels == "compiled":
        to_channels_last(clip_vae.decoder)
    return Models(
        vocabulary=vocabulary,
        large=TextEncoder(large, padding=vocabulary.end),
        giant=TextEncoder(giant, padding=0),
        still_unet=Runner(still_unet, profile.kernels),
        still_vae=still_vae,
        clip_unet=Runner(clip_unet, profile.kernels),
        clip_vae=clip_vae,
        vision=vision,
        device=device,
    )


def _network(directory: Path, path: str, device: torch.device, dtype: torch.dtype) -> Any:
    """Load one network, one tensor at a time, none missing and none left over, and freeze it.

    It is built without memory and given the tensors of the file, so that no weight is ever held twice.
    """
    folder = directory / path
    try:
        config = _config(folder)
        network = build_empty(path, config)
        with open_component(folder, path, config) as component:
            weights = {
                name: component.origins[name].read(shape).to(device, dtype)
                for name, shape in component.shapes.items()
            }
        network.load_state_dict(weights, strict=True, assign=True)
    except BadCheckpoint:
        raise
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise Fatal(f"the weights in {folder} cannot be loaded, check or remove them: {error}") from error
    _make_buffers(network, path, device)
    return network.eval().requires_grad_(requires_grad=False)


def _encoder(directory: Path, path: str, device: torch.device) -> Any:
    """Load a text or vision encoder: it computes in float32 with the weights the reference rounds rounded."""
    encoder = _network(directory, path, device, torch.float32)
    store_half(encoder)
    return encoder


def _make_buffers(network: nn.Module, path: str, device: torch.device) -> None:
    """Fill what the files do not hold and construction without memory leaves empty."""
    for name, buffer in list(network.named_buffers()):
        if not buffer.is_meta:
            continue
        parent, _, leaf = name.rpartition(".")
        if leaf != "position_ids":
            raise Fatal(f"{path} has a buffer {name} that no file holds and this version does not know")
        places = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
        network.get_submodule(parent).register_buffer(leaf, places, persistent=False)
    strays = [
        name
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
        if tensor.device.type != device.type
    ]
    if strays:
        raise Fatal(f"{path} has tensors that were not loaded: {', '.join(strays[:5])}")


def _dtype(profile: Profile, path: str) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, stored_dtype_of(profile, path))
    return dtype


def _config(directory: Path) -> dict[str, Any]:
    config = json.loads(_read_text(directory / CONFIG, _MAX_CONFIG_BYTES))
    if not isinstance(config, dict):
        raise TypeError(f"{directory / CONFIG} is not an object")
    return config


def _read_text(path: Path, most: int) -> str:
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path} is larger than {most} bytes")
    return content.decode("utf-8")


def _correct_norms(unet: nn.Module) -> None:
    """Give every residual block of the video UNet the epsilon it was trained with."""
    for name, module in unet.named_modules():
        if isinstance(module, nn.GroupNorm) and (
            ".spatial_res_block." in name or ".temporal_res_block." in name
        ):
            module.eps = _TRAINED_EPS
