"""Names of the original implementations for the names of the diffusers and transformers classes.

SDXL and SVD were published as one file in the names of Stability AI's ``generative-models`` (``sgm``): UNets
as numbered input, middle and output blocks, the towers of OpenCLIP, autoencoders of the CompVis kind. The
tables below say for each part of a network what it is called there; the number of parts follows from the
configuration, so that a small network is translated by the same rules. Imports no torch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from node.errors import Fatal

Change = Literal["same", "transposed", "pointwise", "query", "key", "value", "identity"]
"""How a stored tensor becomes the wanted one.

``transposed``: stored as inputs x outputs. ``pointwise``: stored as a 1x1 convolution, wanted as a matrix.
``query``, ``key``, ``value``: that third of one fused tensor. ``identity``: not stored, because the original
network has no such layer: a convolution that changes nothing.
"""


@dataclass(frozen=True, slots=True)
class Leaf:
    """Within one part: ``target`` is stored as ``source``, changed as ``change`` says."""

    target: str
    source: str
    change: Change = "same"


Table = tuple[Leaf, ...]
Rules = dict[str, tuple[str, Table]]
"""Part of the network in the class's names -> the same part in the original's names, and its table."""

_SAME: Table = (Leaf("", ""),)

_STILL_RESIDUAL: Table = (
    Leaf("norm1", "in_layers.0"),
    Leaf("conv1", "in_layers.2"),
    Leaf("time_emb_proj", "emb_layers.1"),
    Leaf("norm2", "out_layers.0"),
    Leaf("conv2", "out_layers.3"),
    Leaf("conv_shortcut", "skip_connection"),
)


def _within(outer: str, stack: str, table: Table) -> Table:
    return tuple(Leaf(f"{outer}.{leaf.target}", stack + leaf.source, leaf.change) for leaf in table)


# A video block is the image block with a temporal one stacked on it and a factor that mixes the two.
_CLIP_RESIDUAL: Table = (
    *_within("spatial_res_block", "", _STILL_RESIDUAL),
    *_within("temporal_res_block", "time_stack.", _STILL_RESIDUAL),
    Leaf("time_mixer", "time_mixer"),
)
_STILL_ATTENTION: Table = _SAME
_CLIP_ATTENTION: Table = (
    Leaf("temporal_transformer_blocks", "time_stack"),
    Leaf("time_pos_embed.linear_1", "time_pos_embed.0"),
    Leaf("time_pos_embed.linear_2", "time_pos_embed.2"),
    Leaf("", ""),
)


def still_unet(config: Mapping[str, Any]) -> Rules:
    """Rules for ``UNet2DConditionModel`` (sgm: ``openaimodel.UNetModel``)."""
    return _unet(config, _STILL_RESIDUAL, _STILL_ATTENTION)


def clip_unet(config: Mapping[str, Any]) -> Rules:
    """Rules for ``UNetSpatioTemporalConditionModel`` (sgm: ``video_model.VideoUNet``)."""
    return _unet(config, _CLIP_RESIDUAL, _CLIP_ATTENTION)


def _unet(config: Mapping[str, Any], residual: Table, attention: Table) -> Rules:
    layers: int = config["layers_per_block"]
    downs: list[str] = config["down_block_types"]
    ups: list[str] = config["up_block_types"]
    rules: Rules = {
        "time_embedding.linear_1": ("time_embed.0", _SAME),
        "time_embedding.linear_2": ("time_embed.2", _SAME),
        "add_embedding.linear_1": ("label_emb.0.0", _SAME),
        "add_embedding.linear_2": ("label_emb.0.2", _SAME),
        "conv_in": ("input_blocks.0.0", _SAME),
        "mid_block.resnets.0": ("middle_block.0", residual),
        "mid_block.attentions.0": ("middle_block.1", attention),
        "mid_block.resnets.1": ("middle_block.2", residual),
        "conv_norm_out": ("out.0", _SAME),
        "conv_out": ("out.2", _SAME),
    }
    for level in range(len(downs)):
        first = 1 + level * (layers + 1)
        for layer in range(layers):
            rules[f"down_blocks.{level}.resnets.{layer}"] = (f"input_blocks.{first + layer}.0", residual)
            rules[f"down_blocks.{level}.attentions.{layer}"] = (f"input_blocks.{first + layer}.1", attention)
        rules[f"down_blocks.{level}.downsamplers.0.conv"] = (f"input_blocks.{first + layers}.0.op", _SAME)
    for level, kind in enumerate(ups):
        first = level * (layers + 1)
        for layer in range(layers + 1):
            rules[f"up_blocks.{level}.resnets.{layer}"] = (f"output_blocks.{first + layer}.0", residual)
            rules[f"up_blocks.{level}.attentions.{layer}"] = (f"output_blocks.{first + layer}.1", attention)
        # The upsampler closes the level's last block, after its attention where there is one.
        place = 2 if "CrossAttn" in kind else 1
        rules[f"up_blocks.{level}.upsamplers.0.conv"] = (
            f"output_blocks.{first + layers}.{place}.conv",
            _SAME,
        )
    return rules


_IMAGE_RESIDUAL: Table = (Leaf("conv_shortcut", "nin_shortcut"), Leaf("", ""))
_IMAGE_ATTENTION: Table = (
    Leaf("group_norm", "norm"),
    Leaf("to_q", "q", "pointwise"),
    Leaf("to_k", "k", "pointwise"),
    Leaf("to_v", "v", "pointwise"),
    Leaf("to_out.0", "proj_out", "pointwise"),
)
_FRAME_RESIDUAL: Table = (
    Leaf("spatial_res_block.conv_shortcut", "nin_shortcut"),
    Leaf("spatial_res_block", ""),
    *_within("temporal_res_block", "time_stack.", _STILL_RESIDUAL),
    Leaf("time_mixer.mix_factor", "mix_factor"),
)


def still_vae(config: Mapping[str, Any]) -> Rules:
    """Rules for ``AutoencoderKL`` (sgm: ``model.Encoder``, ``model.Decoder``)."""
    return {
        **_encoder(config),
        **_decoder(config, _IMAGE_RESIDUAL),
        "quant_conv": ("quant_conv", _SAME),
        "post_quant_conv": ("post_quant_conv", _SAME),
    }


def clip_vae(config: Mapping[str, Any]) -> Rules:
    """Rules for ``AutoencoderKLTemporalDecoder`` (sgm: ``model.Encoder``, ``temporal_ae.VideoDecoder``).

    The published first stage is an encoder and a decoder without any quantisation layer between them
    (``AutoencodingEngine``), so the one that the diffusers class has is filled with the identity.
    """
    return {
        **_encoder(config),
        **_decoder(config, _FRAME_RESIDUAL),
        "decoder.time_conv_out": ("decoder.conv_out.time_mix_conv", _SAME),
        "quant_conv": ("quant_conv", (Leaf("", "", "identity"),)),
    }


def _encoder(config: Mapping[str, Any]) -> Rules:
    rules: Rules = {}
    for level in range(len(config["block_out_channels"])):
        for layer in range(config["layers_per_block"]):
            rules[f"encoder.down_blocks.{level}.resnets.{layer}"] = (
                f"encoder.down.{level}.block.{layer}",
                _IMAGE_RESIDUAL,
            )
        rules[f"encoder.down_blocks.{level}.downsamplers.0.conv"] = (
            f"encoder.down.{level}.downsample.conv",
            _SAME,
        )
    return {**rules, **_around("encoder", _IMAGE_RESIDUAL)}


def _decoder(config: Mapping[str, Any], residual: Table) -> Rules:
    rules: Rules = {}
    levels = len(config["block_out_channels"])
    for level in range(levels):
        # The original counts the decoder's levels by resolution, from the finest.
        name = f"decoder.up.{levels - 1 - level}"
        for layer in range(config["layers_per_block"] + 1):
            rules[f"decoder.up_blocks.{level}.resnets.{layer}"] = (f"{name}.block.{layer}", residual)
        rules[f"decoder.up_blocks.{level}.upsamplers.0.conv"] = (f"{name}.upsample.conv", _SAME)
    return {**rules, **_around("decoder", residual)}


def _around(half: str, residual: Table) -> Rules:
    return {
        f"{half}.conv_in": (f"{half}.conv_in", _SAME),
        f"{half}.mid_block.resnets.0": (f"{half}.mid.block_1", residual),
        f"{half}.mid_block.attentions.0": (f"{half}.mid.attn_1", _IMAGE_ATTENTION),
        f"{half}.mid_block.resnets.1": (f"{half}.mid.block_2", residual),
        f"{half}.conv_norm_out": (f"{half}.norm_out", _SAME),
        f"{half}.conv_out": (f"{half}.conv_out", _SAME),
    }


_TOWER_LAYER: Table = (
    Leaf("layer_norm1", "ln_1"),
    Leaf("layer_norm2", "ln_2"),
    Leaf("mlp.fc1", "mlp.c_fc"),
    Leaf("mlp.fc2", "mlp.c_proj"),
    Leaf("self_attn.out_proj", "attn.out_proj"),
    Leaf("self_attn.q_proj.weight", "attn.in_proj_weight", "query"),
    Leaf("self_attn.k_proj.weight", "attn.in_proj_weight", "key"),
    Leaf("self_attn.v_proj.weight", "attn.in_proj_weight", "value"),
    Leaf("self_attn.q_proj.bias", "attn.in_proj_bias", "query"),
    Leaf("self_attn.k_proj.bias", "attn.in_proj_bias", "key"),
    Leaf("self_attn.v_proj.bias", "attn.in_proj_bias", "value"),
)


def large_text(config: Mapping[str, Any]) -> Rules:  # noqa: ARG001 - any depth has the class's own names
    """Rules for ``CLIPTextModel``: SDXL holds it in the names transformers had then."""
    return {"": ("", _SAME)}


def giant_text(config: Mapping[str, Any]) -> Rules:
    """Rules for ``CLIPTextModelWithProjection`` (OpenCLIP's text tower)."""
    return {
        "embeddings.token_embedding": ("token_embedding", _SAME),
        "embeddings.position_embedding.weight": ("positional_embedding", _SAME),
        "final_layer_norm": ("ln_final", _SAME),
        "text_projection.weight": ("text_projection", (Leaf("", "", "transposed"),)),
        **_tower(config),
    }


def vision(config: Mapping[str, Any]) -> Rules:
    """Rules for ``CLIPVisionModelWithProjection`` (OpenCLIP's vision tower)."""
    return {
        "embeddings.class_embedding": ("class_embedding", _SAME),
        "embeddings.patch_embedding": ("conv1", _SAME),
        "embeddings.position_embedding.weight": ("positional_embedding", _SAME),
        "pre_layrnorm": ("ln_pre", _SAME),
        "post_layernorm": ("ln_post", _SAME),
        "visual_projection.weight": ("proj", (Leaf("", "", "transposed"),)),
        **_tower(config),
    }


def _tower(config: Mapping[str, Any]) -> Rules:
    return {
        f"encoder.layers.{layer}": (f"transformer.resblocks.{layer}", _TOWER_LAYER)
        for layer in range(config["num_hidden_layers"])
    }


RULES = {
    "still/text_encoder": large_text,
    "still/text_encoder_2": giant_text,
    "still/unet": still_unet,
    "still/vae": still_vae,
    "clip/image_encoder": vision,
    "clip/unet": clip_unet,
    "clip/vae": clip_vae,
}


def translate(path: str, config: Mapping[str, Any], targets: Iterable[str]) -> dict[str, Leaf]:
    """Return for each name of the class how it is stored: a leaf whose ``source`` is the whole name.

    Raises Fatal if a rule is missing, which is a fault of these tables and not of a file.
    """
    rules = RULES[path](config)
    return {target: _translate(path, rules, target) for target in targets}


def _translate(path: str, rules: Rules, target: str) -> Leaf:
    # Some classes wrap their tower in one more module than others; the original has none.
    words = target.removeprefix("text_model.").removeprefix("vision_model.").split(".")
    for length in range(len(words), -1, -1):
        part, rest = ".".join(words[:length]), ".".join(words[length:])
        if part in rules:
            source, table = rules[part]
            for leaf in table:
                found = _rest(rest, leaf)
                if found is not None:
                    return Leaf(target, ".".join(filter(None, (source, found))), leaf.change)
    raise Fatal(f"no rule says how {target} of {path} is stored")


def _rest(rest: str, leaf: Leaf) -> str | None:
    """Return ``rest`` with the leaf's target at its front replaced by the leaf's source."""
    if leaf.target and rest != leaf.target and not rest.startswith(leaf.target + "."):
        return None
    tail = rest[len(leaf.target) :].removeprefix(".")
    return ".".join(filter(None, (leaf.source, tail)))
