"""What the device itself reaches in this run: the figures that shares are taken of, and our own shapes."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from scripts.benchmarks.pipeline.child import Request
from scripts.benchmarks.pipeline.measuring import Clock, median_ms, release

# Rows, columns and depth of SVD's and SDXL's linear layers at full size, two guided passes.
_PRODUCTS = {
    "svd feed-forward, level 0": (460_800, 2560, 320),
    "svd feed-forward, level 1": (115_200, 5120, 640),
    "svd feed-forward, level 2": (28_800, 10_240, 1280),
    "svd attention output, level 0": (460_800, 320, 320),
    "sdxl attention query, level 2": (2048, 1280, 1280),
    "sdxl attention, fused query, key and value": (2048, 3840, 1280),
    "sdxl feed-forward, level 2": (2048, 10_240, 1280),
}
_CONVOLUTIONS = {
    "svd level 0": (50, 320, 72, 128),
    "svd level 1": (50, 640, 36, 64),
    "svd level 2": (50, 1280, 18, 32),
    "decoder, full size": (4, 128, 576, 1024),
    "decoder, quarter size": (8, 512, 144, 256),
}
# Batch, heads and length; a head is 64 wide.
_ATTENTIONS = {
    "svd level 0, in space": (50, 5, 9216),
    "svd level 1, in space": (50, 10, 2304),
    "svd level 0, in time": (18_432, 5, 25),
    "sdxl level 2": (2, 20, 1024),
}


def matmul_tflops(device: torch.device, dtype: torch.dtype, clock: Clock) -> float:
    """Return 10^12 operations a second of a large product of random matrices; zeros would run faster."""
    side = 8192 if device.type == "cuda" else 512
    one, two = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / median_ms(clock, lambda: one @ two, repeats=10, warm_up=3) / 1e9


def run(request: Request, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return matrix rate, copy rate, and on a GPU at full size the rates of our own shapes."""
    device, dtype, clock = request.device, request.dtype, Clock(request.device)
    found: dict[str, Any] = {"matmul_tflops": round(matmul_tflops(device, dtype, clock), 2)}
    found["copy_tb_per_s"] = round(_copy_rate(clock, device, 2**31 if request.cuda else 2**26), 4)
    release(device)
    keep(found)
    if request.cuda and request.scale.name == "full":
        found["products_tflops"] = {
            name: _product(clock, device, dtype, *shape) for name, shape in _PRODUCTS.items()
        }
        keep(found)
        found["convolutions_tflops"] = {
            name: _convolution(clock, device, dtype, *shape) for name, shape in _CONVOLUTIONS.items()
        }
        keep(found)
        found["attentions_tflops"] = {
            name: _attention(clock, device, dtype, *shape) for name, shape in _ATTENTIONS.items()
        }
    return found


def _copy_rate(clock: Clock, device: torch.device, size_bytes: int) -> float:
    source = torch.empty(size_bytes, device=device, dtype=torch.uint8).fill_(7)
    target = torch.empty_like(source)
    # Every byte is read and written.
    return 2 * size_bytes / median_ms(clock, lambda: target.copy_(source), repeats=6) / 1e9


def _product(
    clock: Clock, device: torch.device, dtype: torch.dtype, rows: int, columns: int, depth: int
) -> float:
    x = torch.randn(rows, depth, device=device, dtype=dtype)
    weight = torch.randn(columns, depth, device=device, dtype=dtype)
    took = median_ms(clock, lambda: functional.linear(x, weight), repeats=8)
    return round(2 * rows * columns * depth / took / 1e9, 1)


def _convolution(
    clock: Clock, device: torch.device, dtype: torch.dtype, batch: int, channels: int, height: int, width: int
) -> dict[str, float]:
    x = torch.randn(batch, channels, height, width, device=device, dtype=dtype)
    weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
    work = 2 * batch * channels * channels * 9 * height * width
    rates = {}
    for name, layout in (("nchw", torch.contiguous_format), ("nhwc", torch.channels_last)):
        pixels, filters = x.contiguous(memory_format=layout), weight.contiguous(memory_format=layout)
        took = median_ms(
            clock, lambda a=pixels, b=filters: functional.conv2d(a, b, padding=1), repeats=5
        )  # fmt: skip
        rates[name] = round(work / took / 1e9, 1)
    return rates


def _attention(
    clock: Clock, device: torch.device, dtype: torch.dtype, batch: int, heads: int, length: int
) -> dict[str, float | str]:
    query = torch.randn(batch, length, heads, 64, device=device, dtype=dtype).transpose(1, 2)
    work = 4 * batch * heads * length * length * 64
    rates: dict[str, float | str] = {}
    for name, backend in (
        ("cudnn", SDPBackend.CUDNN_ATTENTION),
        ("flash", SDPBackend.FLASH_ATTENTION),
    ):
        try:
            with sdpa_kernel(backend):
                took = median_ms(
                    clock,
                    lambda: functional.scaled_dot_product_attention(query, query, query),
                    repeats=5,
                )
            rates[name] = round(work / took / 1e9, 1)
        except RuntimeError as error:
            rates[name] = f"not on this device: {str(error)[:100]}"
    return rates
