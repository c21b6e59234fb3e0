"""The full-size networks of SDXL base 1.0 and SVD-XT, as their diffusers and transformers classes take them.

By path in a profile's directory. SVD-XT 1.0 and 1.1 are the same networks with other weights.

Imports no torch. ``SIZES`` are the parameter counts these configurations give (docs, performance 1.2).
"""

from typing import Any

PATHS = (
    "still/text_encoder",
    "still/text_encoder_2",
    "still/unet",
    "still/vae",
    "clip/image_encoder",
    "clip/unet",
    "clip/vae",
)
"""Every network of a profile, in the order in which a job uses them first."""

_TEXT: dict[str, Any] = {
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "layer_norm_eps": 1e-5,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
}
_VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "still/text_encoder": {
        **_TEXT,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "projection_dim": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "hidden_act": "quick_gelu",
        "pad_token_id": 49407,
    },
    "still/text_encoder_2": {
        **_TEXT,
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "projection_dim": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "hidden_act": "gelu",
        "pad_token_id": 0,
    },
    "still/unet": {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 2,
        # The number of heads, whatever its name says: each head is 64 wide.
        "attention_head_dim": [5, 10, 20],
        "transformer_layers_per_block": [1, 2, 10],
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "still/vae": {**_VAE, "up_block_types": ["UpDecoderBlock2D"] * 4, "scaling_factor": 0.13025},
    "clip/image_encoder": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "projection_dim": 1024,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
    },
    "clip/unet": {
        "in_channels": 8,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": ["CrossAttnDownBlockSpatioTemporal"] * 3 + ["DownBlockSpatioTemporal"],
        "up_block_types": ["UpBlockSpatioTemporal"] + ["CrossAttnUpBlockSpatioTemporal"] * 3,
        "layers_per_block": 2,
        "num_attention_heads": [5, 10, 20, 20],
        "transformer_layers_per_block": 1,
        "cross_attention_dim": 1024,
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 768,
        "num_frames": 25,
    },
    "clip/vae": {**_VAE, "scaling_factor": 0.18215},
}

SIZES: dict[str, int] = {
    "still/text_encoder": 123_060_480,
    "still/text_encoder_2": 694_659_840,
    "still/unet": 2_567_463_684,
    "still/vae": 83_653_863,
    "clip/image_encoder": 632_076_800,
    "clip/unet": 1_524_623_082,
    "clip/vae": 97_742_847,
}
"""Parameters of each network."""
