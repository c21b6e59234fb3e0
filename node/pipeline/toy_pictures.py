"""What makes the toy networks' pictures worth looking at: a path through each network that carries the image.

With random weights alone every picture is the same coloured noise. Here eight channels of each network are
set so that the still network removes fine noise before coarse, the encoder and the decoders are blurry
inverses of each other, and the clip network keeps to the still; the remaining channels stay random and give
texture that depends on prompt and seed.
"""

from collections.abc import Mapping

import torch

Tensor = torch.Tensor
Weights = Mapping[str, Tensor]
_CARRIED = 8
_SIDE = 32
_COARSE = 0.92
_STILL_TEXTURE = 0.4
_CLIP_TEXTURE = 0.8
_PIXEL_TEXTURE = 0.12
_CONTRAST = 0.42
_QUIET = 0.02
_LOG_VARIANCE = -6.0
_BLUR = torch.outer(torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 1.0])) / 16.0
_CENTRE = torch.zeros(3, 3).index_put((torch.tensor(1), torch.tensor(1)), torch.tensor(1.0))
# The encoder's halving convolutions pad below and to the right only, so the mean of four sits in that corner.
_HALVE = torch.zeros(3, 3)
_HALVE[:2, :2] = 0.25


def arrange(path: str, weights: Weights) -> None:
    """Change the drawn ``weights`` of the network at ``path`` in place; the encoders of CLIP stay random."""
    match path:
        case "still/unet":
            _bring_in(weights["conv_in.weight"], _CENTRE - _COARSE * _BLUR, first_input=0, inputs=4)
            _carry_skip(weights, "up_blocks.1.resnets.1.", "up_blocks.1.resnets.1.conv_shortcut")
            _bring_out(weights["conv_out.weight"], gain=1.0, texture=_STILL_TEXTURE)
        case "clip/unet":
            _bring_in(weights["conv_in.weight"], _CENTRE, first_input=4, inputs=4)
            _carry_skip(
                weights, "up_blocks.1.resnets.1.", "up_blocks.1.resnets.1.spatial_res_block.conv_shortcut"
            )
            _bring_out(weights["conv_out.weight"], gain=-1.0, texture=_CLIP_TEXTURE)
        case "still/vae" | "clip/vae":
            _arrange_vae(weights)


def _arrange_vae(weights: Weights) -> None:
    _quieten(weights, "encoder.")
    _quieten(weights, "decoder.")
    _bring_in(weights["encoder.conv_in.weight"], _CENTRE, first_input=0, inputs=3)
    _bring_in(weights["decoder.conv_in.weight"], _CENTRE, first_input=0, inputs=4)
    for name, weight in weights.items():
        if name.endswith("downsamplers.0.conv.weight"):
            _keep(weight, _HALVE)
        if name.endswith("upsamplers.0.conv.weight"):
            _keep(weight, _BLUR)
    _bring_out(weights["encoder.conv_out.weight"], gain=1.0, texture=_PIXEL_TEXTURE)
    weights["encoder.conv_out.weight"][4:] = 0.0
    weights["encoder.conv_out.bias"][4:] = _LOG_VARIANCE
    _bring_out(weights["decoder.conv_out.weight"], gain=_CONTRAST, texture=_PIXEL_TEXTURE)
    for name, size in (("quant_conv", 8), ("post_quant_conv", 4)):
        if f"{name}.weight" in weights:
            weights[f"{name}.weight"][:, :, 0, 0] = torch.eye(size)
    if "decoder.time_conv_out.weight" in weights:
        kernel = torch.tensor([0.25, 0.5, 0.25])
        weights["decoder.time_conv_out.weight"][..., 0, 0] = torch.eye(3)[:, :, None] * kernel


def _bring_in(weight: Tensor, kernel: Tensor, *, first_input: int, inputs: int) -> None:
    """Put each input and its negative on a pair of carried channels."""
    weight[:_CARRIED] = 0.0
    for index in range(inputs):
        weight[2 * index, first_input + index] = kernel
        weight[2 * index + 1, first_input + index] = -kernel


def _bring_out(weight: Tensor, *, gain: float, texture: float) -> None:
    """Read the pairs: ``silu(a) - silu(-a)`` is ``a``, so the last activation drops out."""
    weight *= texture
    weight[:, :_CARRIED] = 0.0
    for index in range(min(4, len(weight))):
        weight[index, 2 * index, 1, 1] = gain
        weight[index, 2 * index + 1, 1, 1] = -gain


def _carry_skip(weights: Weights, block: str, shortcut: str) -> None:
    """Let the carried channels of the first convolution pass the last residual block unchanged."""
    weights[f"{shortcut}.weight"][:_CARRIED] = 0.0
    weights[f"{shortcut}.bias"][:_CARRIED] = 0.0
    for channel in range(_CARRIED):
        # The block reads what came up, then what was skipped over.
        weights[f"{shortcut}.weight"][channel, _SIDE + channel] = 1.0
    for name, weight in weights.items():
        if name.startswith(block) and ".conv2." in name:
            weight[:_CARRIED] = 0.0


def _quieten(weights: Weights, part: str) -> None:
    """Make what residual blocks and attention add to the carried channels small."""
    for name, weight in weights.items():
        if name.startswith(part) and (".conv2." in name or ".to_out.0." in name):
            weight[:_CARRIED] *= _QUIET
        if name.startswith(part) and name.endswith("conv_in.bias"):
            weight[:_CARRIED] = 0.0


def _keep(weight: Tensor, kernel: Tensor) -> None:
    """Let a resampling convolution treat each carried channel by itself."""
    weight[:_CARRIED] = 0.0
    for channel in range(_CARRIED):
        weight[channel, channel] = kernel
