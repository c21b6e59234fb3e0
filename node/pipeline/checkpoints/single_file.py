"""The single files ``sd_xl_base_1.0``, ``svd_xt`` and ``svd_xt_1_1``: which networks lie where in them.

What lies in such a file by its published configuration (sgm: ``configs/inference/sd_xl_base.yaml``,
``svd.yaml``) is either mapped or named here as left out; any other name is refused, because a file with
unknown parts is not the model it claims to be.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import torch

from node.pipeline.checkpoints.architectures import CONFIGS
from node.pipeline.checkpoints.component import Component, Origin, checked, named
from node.pipeline.checkpoints.ldm import translate
from node.pipeline.checkpoints.networks import expected_shapes
from node.pipeline.checkpoints.safe import BadCheckpoint, SafeFile, open_safetensors

Kind = Literal["sdxl", "svd"]

_PREFIXES: dict[Kind, dict[str, str]] = {
    "sdxl": {
        "still/text_encoder": "conditioner.embedders.0.transformer.text_model.",
        "still/text_encoder_2": "conditioner.embedders.1.model.",
        "still/unet": "model.diffusion_model.",
        "still/vae": "first_stage_model.",
    },
    "svd": {
        "clip/image_encoder": "conditioner.embedders.0.open_clip.model.visual.",
        "clip/unet": "model.diffusion_model.",
        "clip/vae": "first_stage_model.",
    },
}
_SIGNS: dict[Kind, tuple[str, ...]] = {
    "sdxl": (
        "conditioner.embedders.1.model.text_projection",
        "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
        "model.diffusion_model.label_emb.0.0.weight",
    ),
    "svd": (
        "conditioner.embedders.0.open_clip.model.visual.proj",
        "model.diffusion_model.middle_block.1.time_mixer.mix_factor",
        "first_stage_model.decoder.conv_out.time_mix_conv.weight",
    ),
}
_SECOND_ENCODER = "conditioner.embedders.3.encoder."

_LEFT_OUT: dict[Kind, tuple[str, ...]] = {
    "sdxl": (
        r"model_ema\..*",  # the running average kept in training
        r"denoiser\.sigmas",  # the noise levels, which the schedule computes
        r"conditioner\.embedders\.0\.transformer\.text_model\.embeddings\.position_ids",  # 0, 1, 2, ...
        r"conditioner\.embedders\.1\.model\.(logit_scale|attn_mask)",  # for training; the causal mask
    ),
    "svd": (
        r"model_ema\..*",
        r"denoiser\.sigmas",
        # What OpenCLIP's text tower leaves behind when its layers are removed.
        (
            r"conditioner\.embedders\.0\.open_clip\.model\."
            r"(logit_scale|attn_mask|positional_embedding|text_projection|token_embedding\.weight|ln_final\..*)"
        ),
        r"conditioner\.embedders\.0\.(mean|std)",  # the preprocessing's constants
        # An image autoencoder of its own for the conditioning frame; the reference encodes that frame with
        # the first stage's encoder.
        re.escape(_SECOND_ENCODER) + r".*",
    ),
}


@dataclass(frozen=True, slots=True)
class SingleFile:
    """An open single file whose names are all accounted for. A context manager."""

    kind: Kind
    file: SafeFile
    components: Mapping[str, Component]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    @property
    def paths(self) -> tuple[str, ...]:
        """The networks inside, by their paths in a profile."""
        return tuple(self.components)

    def component(self, path: str) -> Component:
        """Return one network. Raises BadCheckpoint, naming those inside, if it is not one of them."""
        if path not in self.components:
            raise BadCheckpoint(f"{self.file.path} holds {', '.join(self.paths)}, not {path}")
        return self.components[path]

    def second_encoder_difference(self) -> float | None:
        """Return by how much SVD's second image encoder differs from the first stage's encoder.

        The largest difference of any weight, relative to its tensor's largest weight, after the second
        one's quantisation layer is multiplied into its last convolution (both are linear, so this is exact
        up to rounding). About 1e-6 means that encoding with either gives the same latents. None if the file
        has no second encoder.
        """
        if not any(name.startswith(_SECOND_ENCODER) for name in self.file.entries):
            return None
        worst = 0.0
        for name in self.file.entries:
            if name.startswith("first_stage_model.encoder."):
                first = self.file.read(name).double()
                second = self._second(name.removeprefix("first_stage_model."))
                worst = max(worst, float((first - second).abs().max() / first.abs().max().clamp_min(1e-12)))
        return worst

    def _second(self, name: str) -> torch.Tensor:
        tensor = self.file.read(_SECOND_ENCODER + name).double()
        if not name.startswith("encoder.conv_out."):
            return tensor
        matrix = self.file.read(f"{_SECOND_ENCODER}quant_conv.weight").double().flatten(1)
        mixed = torch.einsum("oi,i...->o...", matrix, tensor)
        if name.endswith(".bias"):
            mixed += self.file.read(f"{_SECOND_ENCODER}quant_conv.bias").double()
        return mixed


def open_single_file(path: Path, configs: Mapping[str, dict[str, Any]] = CONFIGS) -> SingleFile:
    """Open one of the single files and account for every name in it.

    ``configs`` are the networks it must hold, by path. Raises BadCheckpoint if it is no safetensors file, or
    naming what is missing, unknown, or of another shape.
    """
    file = open_safetensors(path)
    try:
        kind = _kind(file)
        components = {
            network: _component(file, network, prefix, configs[network])
            for network, prefix in _PREFIXES[kind].items()
        }
        _refuse_unknown(file, kind, components)
    except BaseException:
        file.close()
        raise
    return SingleFile(kind, file, components)


def _kind(file: SafeFile) -> Kind:
    found = {kind: [name for name in signs if name in file.entries] for kind, signs in _SIGNS.items()}
    best = max(found, key=lambda kind: len(found[kind]))
    missing = [name for name in _SIGNS[best] if name not in found[best]]
    if found[best] and not missing:
        return best
    if found[best]:
        raise BadCheckpoint(f"{file.path} looks like {best}, but lacks {named(missing)}")
    raise BadCheckpoint(
        f"{file.path} is neither an SDXL nor an SVD single file: "
        f"expected {_SIGNS['sdxl'][0]} or {_SIGNS['svd'][0]}, found {named(file.entries)}"
    )


def _component(file: SafeFile, path: str, prefix: str, config: dict[str, Any]) -> Component:
    shapes = expected_shapes(path, config)
    origins = {
        target: Origin(None, target, leaf.change)
        if leaf.change == "identity"
        else Origin(file, prefix + leaf.source, leaf.change)
        for target, leaf in translate(path, config, shapes).items()
    }
    return checked(path, shapes, origins)


def _refuse_unknown(file: SafeFile, kind: Kind, components: Mapping[str, Component]) -> None:
    used = {
        origin.name
        for component in components.values()
        for origin in component.origins.values()
        if origin.file
    }
    left_out = re.compile("|".join(_LEFT_OUT[kind]))
    unknown = [name for name in file.entries if name not in used and not left_out.fullmatch(name)]
    if unknown:
        raise BadCheckpoint(f"{file.path} holds {named(unknown)}, which {kind} does not have")
