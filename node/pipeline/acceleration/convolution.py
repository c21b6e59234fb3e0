"""Convolutions over time as convolutions over an image, and the memory layout that the kernels want."""

import torch
from torch import nn
from torch.nn import functional

Tensor = torch.Tensor


class TemporalConvolution(nn.Module):
    """``Conv3d`` with kernel (3, 1, 1) as a ``conv2d`` over an image of F rows and B*H*W columns.

    A column never meets another, so all places of all clips can lie side by side. For channels-last
    activations laid out by frames, [F, B, H, W, C] in memory, the image is a view.
    """

    def __init__(self, stock: nn.Conv3d) -> None:
        super().__init__()
        plain = (stock.kernel_size, stock.stride, stock.padding, stock.dilation, stock.groups)
        if plain != ((3, 1, 1), (1, 1, 1), (1, 0, 0), (1, 1, 1), 1):
            raise ValueError(f"not a convolution over three frames: {stock}")
        self.weight = nn.Parameter(stock.weight.detach()[..., 0].contiguous(), requires_grad=False)
        self.bias = stock.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C', F, H, W] for [B, C, F, H, W], in memory [F, B, H, W, C'] or [C', F, B, H, W]."""
        clips, _, frames, height, width = x.shape
        image = x.permute(1, 2, 0, 3, 4).reshape(1, -1, frames, clips * height * width)
        convolved = functional.conv2d(image, self.weight, self.bias, padding=(1, 0))
        return convolved.view(-1, frames, clips, height, width).permute(2, 0, 1, 3, 4)


def to_channels_last(network: nn.Module) -> None:
    """Lay out the weights of all convolutions over images channels-last.

    Weights of four dimensions only: the method of the module itself raises on those of ``Conv3d``.
    """
    with torch.inference_mode(mode=False), torch.no_grad():
        for layer in network.modules():
            for name, weight in list(layer.named_parameters(recurse=False)):
                if weight.ndim == 4:
                    # Weights of 1x1 fit both layouts and would keep whichever strides they came with; what
                    # is chosen to convolve with them, and so the bits, depends on the strides.
                    fixed = torch.empty_like(weight, memory_format=torch.channels_last).copy_(weight)
                    setattr(layer, name, nn.Parameter(fixed, requires_grad=False))
