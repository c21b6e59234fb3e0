"""The toy networks' configurations and a CLIP vocabulary made from nothing.

Same classes, same switches and same input and output channels as SDXL and SVD-XT; fewer levels, layers and
channels. 32 channels is the least the classes' group norms allow.
"""

import json
from typing import Any

_WIDTH = 32
_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"
_MERGES = ("t h", "i n", "a n", "e r", "o n", "r e", "s t", "th e</w>", "in g</w>", "a t</w>")


def _byte_symbols() -> list[str]:
    """Return the printable stand-ins of the 256 bytes that GPT-2's and CLIP's vocabularies begin with."""
    own = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [chr(256 + place) for place in range(256 - len(own))]
    return [chr(byte) for byte in own] + moved


def _vocabulary() -> list[str]:
    symbols = _byte_symbols()
    merged = [merge.replace(" ", "") for merge in _MERGES]
    # The end token comes last: pooling looks for the largest id.
    return [*symbols, *(symbol + "</w>" for symbol in symbols), *merged, _BEGIN, _END]


def vocabulary_files() -> dict[str, str]:
    """Return ``vocab.json`` and ``merges.txt`` by their path in a profile's directory."""
    ids = {token: index for index, token in enumerate(_vocabulary())}
    return {
        "still/tokenizer/vocab.json": json.dumps(ids, ensure_ascii=False),
        "still/tokenizer/merges.txt": "\n".join(("#version: 0.2", *_MERGES)) + "\n",
    }


_TEXT = {
    "vocab_size": len(_vocabulary()),
    "hidden_size": _WIDTH,
    "intermediate_size": 2 * _WIDTH,
    "projection_dim": _WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
    "bos_token_id": len(_vocabulary()) - 2,
    "eos_token_id": len(_vocabulary()) - 1,
}
_VAE = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": [_WIDTH] * 4,
    "layers_per_block": 1,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "still/text_encoder": {**_TEXT, "hidden_act": "quick_gelu", "pad_token_id": _TEXT["eos_token_id"]},
    "still/text_encoder_2": {**_TEXT, "hidden_act": "gelu", "pad_token_id": 0},
    "still/unet": {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [_WIDTH, _WIDTH],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "attention_head_dim": [1, 2],
        "transformer_layers_per_block": [1, 1],
        "cross_attention_dim": 2 * _WIDTH,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 6 * 256 + _WIDTH,
    },
    "still/vae": {**_VAE, "up_block_types": ["UpDecoderBlock2D"] * 4, "scaling_factor": 0.13025},
    "clip/image_encoder": {
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "projection_dim": _WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 224,
        "patch_size": 14,
        "hidden_act": "gelu",
    },
    "clip/unet": {
        "in_channels": 8,
        "out_channels": 4,
        "block_out_channels": [_WIDTH, _WIDTH],
        "down_block_types": ["DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"],
        "up_block_types": ["CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"],
        "layers_per_block": 1,
        "num_attention_heads": [1, 2],
        "cross_attention_dim": _WIDTH,
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 3 * 256,
        "num_frames": 25,
    },
    "clip/vae": {**_VAE, "scaling_factor": 0.18215},
}
