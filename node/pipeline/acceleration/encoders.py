"""Text and vision encoders with their weights at rest in float16, computing in float32.

The reference keeps these weights in half precision and casts each up when its layer runs (docs, pipeline 2).
Rounding once and keeping the result wide gives the same numbers at twice the memory; here a wide copy lives
only while its layer computes.
"""

import torch
from torch import nn
from torch.nn import functional

_VISION_KEPT = ("pre_layrnorm", "post_layernorm", "visual_projection")


class _HalfLinear(nn.Module):
    """A linear layer stored in float16; input, product and sum in float32."""

    def __init__(self, stock: nn.Linear) -> None:
        super().__init__()
        self.weight = _halved(stock.weight)
        self.bias = None if stock.bias is None else _halved(stock.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.linear(x, self.weight.to(x.dtype), bias)


class _HalfLayerNorm(nn.Module):
    """A layer norm stored in float16; statistics, scale and shift in float32."""

    def __init__(self, stock: nn.LayerNorm) -> None:
        super().__init__()
        self.normalized_shape = stock.normalized_shape
        self.eps = stock.eps
        self.weight = _halved(stock.weight)
        self.bias = None if stock.bias is None else _halved(stock.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), bias, self.eps)


def store_half(encoder: nn.Module) -> None:
    """Round a CLIP encoder's weights to float16 and keep them so, all but those the reference keeps wide.

    ``encoder`` is a text or vision model of transformers in float32. Wide stay the embeddings (tokens,
    positions, class and patches) and the vision model's first norm, last norm and projection. The outputs
    are bit for bit those of the same encoder in float32 with rounded weights.

    Raises ValueError if a layer is of a kind that this cannot store, or not in float32.
    """
    for name, parameter in encoder.named_parameters():
        if parameter.dtype != torch.float32:
            raise ValueError(f"{name} is {parameter.dtype}; encoders are rounded from torch.float32")
    for path, layer in list(encoder.named_modules()):
        if _kept_wide(path) or not list(layer.parameters(recurse=False)):
            continue
        parent, _, name = path.rpartition(".")
        setattr(encoder.get_submodule(parent), name, _stored(path, layer))


def _kept_wide(path: str) -> bool:
    return "embedding" in path or any(kept in path for kept in _VISION_KEPT)


def _stored(path: str, layer: nn.Module) -> nn.Module:
    # The exact classes: a subclass may compute something else.
    if type(layer) is nn.Linear:
        return _HalfLinear(layer)
    if type(layer) is nn.LayerNorm:
        return _HalfLayerNorm(layer)
    raise ValueError(f"{path} is a {type(layer).__name__}, neither a linear layer nor a layer norm")


def _halved(weight: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().half(), requires_grad=False)
