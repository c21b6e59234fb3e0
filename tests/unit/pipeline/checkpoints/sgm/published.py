"""Whole single files in the published layout: networks under their prefixes, and what lies beside them."""

import torch
from torch import nn

from node.pipeline.checkpoints.architectures import CONFIGS
from tests.unit.pipeline.checkpoints.sgm.autoencoder import ImageAutoencoder, VideoAutoencoder
from tests.unit.pipeline.checkpoints.sgm.clip import LargeTower, TextTower, VisionTower
from tests.unit.pipeline.checkpoints.sgm.unet import UNet

WORDS = 50

# Widths, depths and counts differ from their neighbours', so that few mix-ups fit by chance.
TINY = {
    "still/text_encoder": {
        **CONFIGS["still/text_encoder"],
        "vocab_size": WORDS,
        "hidden_size": 32,
        "intermediate_size": 80,
        "projection_dim": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "bos_token_id": WORDS - 2,
        "eos_token_id": WORDS - 1,
        "pad_token_id": WORDS - 1,
    },
    "still/text_encoder_2": {
        **CONFIGS["still/text_encoder_2"],
        "vocab_size": WORDS,
        "hidden_size": 48,
        "intermediate_size": 112,
        "projection_dim": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 3,
        "bos_token_id": WORDS - 2,
        "eos_token_id": WORDS - 1,
    },
    "still/unet": {
        **CONFIGS["still/unet"],
        "block_out_channels": [32, 64, 32],
        "attention_head_dim": [2, 4, 2],
        "transformer_layers_per_block": [1, 1, 2],
        "cross_attention_dim": 80,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 48,
    },
    "still/vae": {**CONFIGS["still/vae"], "block_out_channels": [32, 64, 32, 64]},
    "clip/image_encoder": {
        **CONFIGS["clip/image_encoder"],
        "hidden_size": 32,
        "intermediate_size": 80,
        "projection_dim": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 28,
    },
    "clip/unet": {
        **CONFIGS["clip/unet"],
        "block_out_channels": [32, 64, 32, 64],
        "num_attention_heads": [2, 4, 2, 4],
        "cross_attention_dim": 24,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 3 * 8,
    },
    "clip/vae": {**CONFIGS["clip/vae"], "block_out_channels": [32, 64, 32, 64]},
}


def large_tower(config):
    return LargeTower(
        words=config["vocab_size"],
        width=config["hidden_size"],
        hidden=config["intermediate_size"],
        heads=config["num_attention_heads"],
        layers=config["num_hidden_layers"],
    )


def text_tower(config):
    return TextTower(
        words=config["vocab_size"],
        width=config["hidden_size"],
        hidden=config["intermediate_size"],
        heads=config["num_attention_heads"],
        layers=config["num_hidden_layers"],
        outputs=config["projection_dim"],
    )


def still_unet(config):
    return UNet(
        video=False,
        inputs=4,
        widths=config["block_out_channels"],
        depths=[0, *config["transformer_layers_per_block"][1:]],
        middle_depth=config["transformer_layers_per_block"][-1],
        blocks=2,
        head_width=config["block_out_channels"][0] // config["attention_head_dim"][0],
        context_width=config["cross_attention_dim"],
        extra=config["projection_class_embeddings_input_dim"],
    )


def vision_tower(config):
    return VisionTower(
        patch=config["patch_size"],
        side=config["image_size"],
        width=config["hidden_size"],
        hidden=config["intermediate_size"],
        heads=config["num_attention_heads"],
        layers=config["num_hidden_layers"],
        outputs=config["projection_dim"],
    )


def clip_unet(config):
    return UNet(
        video=True,
        inputs=8,
        widths=config["block_out_channels"],
        depths=[1, 1, 1, 0],
        middle_depth=1,
        blocks=2,
        head_width=config["block_out_channels"][0] // config["num_attention_heads"][0],
        context_width=config["cross_attention_dim"],
        extra=config["projection_class_embeddings_input_dim"],
    )


def sdxl(configs):
    """SDXL base's networks by their prefixes in the single file."""
    return {
        "conditioner.embedders.0.transformer.": large_tower(configs["still/text_encoder"]),
        "conditioner.embedders.1.model.": text_tower(configs["still/text_encoder_2"]),
        "model.diffusion_model.": still_unet(configs["still/unet"]),
        "first_stage_model.": ImageAutoencoder(configs["still/vae"]["block_out_channels"], 2),
    }


def svd(configs):
    """SVD's networks by their prefixes, the autoencoder of the conditioning frame among them."""
    widths = configs["clip/vae"]["block_out_channels"]
    tower = nn.Module()
    tower.visual = vision_tower(configs["clip/image_encoder"])
    # OpenCLIP's model keeps these when the layers of its text tower are removed.
    outputs = configs["clip/image_encoder"]["projection_dim"]
    words = 49408 if configs is CONFIGS else WORDS
    tower.token_embedding = nn.Embedding(words, outputs)
    tower.positional_embedding = nn.Parameter(torch.zeros(77, outputs))
    tower.text_projection = nn.Parameter(torch.zeros(outputs, outputs))
    tower.ln_final = nn.LayerNorm(outputs)
    tower.logit_scale = nn.Parameter(torch.zeros(()))
    return {
        "model.diffusion_model.": clip_unet(configs["clip/unet"]),
        "conditioner.embedders.0.open_clip.model.": tower,
        "conditioner.embedders.3.encoder.": ImageAutoencoder(widths, 2),
        "first_stage_model.": VideoAutoencoder(widths, 2),
    }


def randomise(network, seed):
    """Give every weight a value of its own, sized so that signals neither fade nor explode."""
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            values = torch.randn(weight.shape, generator=stream)
            if weight.ndim > 1:
                weight.copy_(values / weight[0].numel() ** 0.5)
            else:
                weight.copy_(
                    1 + 0.2 * values if weight.numel() and weight.flatten()[0] == 1 else 0.2 * values
                )
    return network.eval()


def state(networks):
    """The tensors of all networks under their full names."""
    return {
        prefix + name: tensor.contiguous()
        for prefix, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
