"""Small random UNets of both kinds, and the tolerance within which sums in another order are the same."""

import math

import pytest
import torch
from torch import nn

from node.pipeline.checkpoints.networks import build
from node.pipeline.toy_configs import CONFIGS


def fill(network, seed=0):
    """Draw every weight so that activations keep their size and no norm or mixing share is a plain one."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        scaled = noise / math.sqrt(noise[0].numel()) if noise.ndim >= 2 else 0.3 * noise
        parameter.data.copy_(scaled + 1.0 if "norm" in name and name.endswith("weight") else scaled)
    return network.eval().requires_grad_(requires_grad=False)


@torch.inference_mode(mode=False)
def made(path, dtype, **changes):
    # The plain module's method: the diffusers override warns of a case that is not ours.
    return nn.Module.to(fill(build(path, CONFIGS[path] | changes)), dtype)


@pytest.fixture
def stock_still():
    """SDXL's UNet with two transformer blocks in a row."""
    return lambda dtype=torch.float64, **changes: made(
        "still/unet", dtype, transformer_layers_per_block=[1, 2], **changes
    )


@pytest.fixture
def stock_clip():
    return lambda dtype=torch.float64, **changes: made("clip/unet", dtype, **changes)


@pytest.fixture
def filled():
    return fill


@pytest.fixture
def difference():
    """The largest difference relative to the largest expected number."""
    return lambda result, expected: float((result - expected).abs().max() / expected.abs().max())


@pytest.fixture(autouse=True)
def inference():
    """Compute as the pipeline does, on one thread: networks this small lose by more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)
