"""The networks without their trained weights: real architectures, random numbers, made on the device.

Speed and memory do not depend on what the weights are, as long as they are neither zero nor infinite. The
constructors' own initialisation from one seed gives the same weights in every process on the same device.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from node.pipeline.checkpoints import architectures
from node.pipeline.checkpoints.networks import build as construct
from node.pipeline.toy_configs import CONFIGS as TOY_CONFIGS

Tensor = torch.Tensor
_SEED = 20_240_422
_MIX_FACTOR = 0.3
_SAMPLED = 4096


@dataclass(frozen=True, slots=True)
class Scale:
    """How large everything is: configurations by path, and pictures in pixels."""

    name: str
    configs: dict[str, dict[str, Any]]
    still_size: int
    clip_width: int
    clip_height: int
    frames: int = 25

    @property
    def clip_latents(self) -> tuple[int, int, int, int]:
        """The shape of a clip's latents, [F, 4, h, w]."""
        return self.frames, 4, self.clip_height // 8, self.clip_width // 8

    @property
    def still_latents(self) -> tuple[int, int, int, int]:
        """The shape of one still's latents, [1, 4, h, w]."""
        return 1, 4, self.still_size // 8, self.still_size // 8


FULL = Scale("full", architectures.CONFIGS, still_size=1024, clip_width=1024, clip_height=576)
TINY = Scale("tiny", TOY_CONFIGS, still_size=256, clip_width=128, clip_height=80)


def _reduced(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**config, **changes}


# The levels, attention widths and switches of the full networks with a quarter of the channels: large enough for
# every kernel of the full size to be chosen, small enough to be built and compiled in a test.
SMALL = Scale(
    "small",
    {
        **architectures.CONFIGS,
        "still/text_encoder": TOY_CONFIGS["still/text_encoder"],
        "still/text_encoder_2": TOY_CONFIGS["still/text_encoder_2"],
        "still/unet": _reduced(
            architectures.CONFIGS["still/unet"],
            block_out_channels=[64, 128, 256],
            attention_head_dim=[1, 2, 4],
            transformer_layers_per_block=[1, 1, 2],
            cross_attention_dim=2 * TOY_CONFIGS["still/text_encoder"]["hidden_size"],
            projection_class_embeddings_input_dim=(
                6 * 256 + TOY_CONFIGS["still/text_encoder_2"]["projection_dim"]
            ),
        ),
        "still/vae": _reduced(architectures.CONFIGS["still/vae"], block_out_channels=[32, 64, 64, 64]),
        "clip/image_encoder": TOY_CONFIGS["clip/image_encoder"],
        "clip/unet": _reduced(
            architectures.CONFIGS["clip/unet"],
            block_out_channels=[64, 128, 256, 256],
            num_attention_heads=[1, 2, 4, 4],
            cross_attention_dim=TOY_CONFIGS["clip/image_encoder"]["projection_dim"],
        ),
        "clip/vae": _reduced(architectures.CONFIGS["clip/vae"], block_out_channels=[32, 64, 64, 64]),
    },
    still_size=512,
    clip_width=512,
    clip_height=320,
)
SCALES = {scale.name: scale for scale in (FULL, SMALL, TINY)}


# Weights made in inference mode could not be moved or bound later, as those read from files can.
@torch.inference_mode(mode=False)
def build(scale: Scale, path: str, device: torch.device, dtype: torch.dtype) -> Any:
    """Return the network of ``path`` with weights that are the same in every process on this device."""
    before = torch.get_default_dtype()
    torch.manual_seed(_SEED)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            network = construct(path, scale.configs[path])
    finally:
        torch.set_default_dtype(before)
    # The plain module's method: the diffusers override warns of a case that is not ours.
    network = nn.Module.to(network, device, dtype).eval().requires_grad_(requires_grad=False)
    for name, parameter in network.named_parameters():
        # One half, its constructor's value, would hide a swap of what is mixed.
        if name.endswith("mix_factor"):
            parameter.data.fill_(_MIX_FACTOR)
    return network


def fingerprint(network: nn.Module) -> str:
    """Return a short hash of the beginning of every parameter, to compare weights between processes."""
    running = hashlib.sha256()
    for name, parameter in sorted(network.named_parameters()):
        start = parameter.detach().flatten()[:_SAMPLED].float().cpu()
        running.update(name.encode())
        running.update(start.numpy().tobytes())
    return running.hexdigest()[:16]


def normals(*shape: int, seed: int) -> Tensor:
    """Return float32 normals drawn on the CPU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def still_inputs(
    scale: Scale, unet: Any, batch: int = 1, tokens: int = 77
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what SDXL's UNet is called with for ``batch`` guided stills."""
    rows, config = 2 * batch, scale.configs["still/unet"]
    _, channels, height, width = scale.still_latents
    place = {"device": unet.device, "dtype": unet.dtype}
    pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
    sizes = torch.tensor([[scale.still_size, scale.still_size, 0, 0, scale.still_size, scale.still_size]])
    arguments = (
        normals(rows, channels, height, width, seed=1).to(**place),
        torch.full((rows,), 500.0, device=unet.device),
        normals(rows, tokens, config["cross_attention_dim"], seed=2).to(**place),
    )
    extra = {
        "text_embeds": normals(rows, pooled, seed=3).to(**place),
        "time_ids": sizes.repeat(rows, 1).to(**place),
    }
    return arguments, {"added_cond_kwargs": extra, "return_dict": False}


def clip_inputs(scale: Scale, unet: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what SVD's UNet is called with for one guided clip."""
    frames, _, height, width = scale.clip_latents
    place = {"device": unet.device, "dtype": unet.dtype}
    context = normals(1, 1, scale.configs["clip/unet"]["cross_attention_dim"], seed=2)
    arguments = (
        normals(2, frames, 8, height, width, seed=1).to(**place),
        torch.tensor(1.6, device=unet.device),
        torch.cat([torch.zeros_like(context), context]).to(**place),
        torch.tensor([[5.0, 127.0, 0.0]] * 2).to(**place),
    )
    return arguments, {"return_dict": False}


def flops(call: Any, *arguments: Any, **keywords: Any) -> float:
    """Return the floating-point operations of one call, counted by torch: two for a multiply and add."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call(*arguments, **keywords)
    return float(counter.get_total_flops())
