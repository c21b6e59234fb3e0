"""The full-size configurations give the published networks, counted without allocating them."""

import pytest
import torch

from node.pipeline.checkpoints.architectures import CONFIGS, PATHS, SIZES
from node.pipeline.checkpoints.networks import build
from node.pipeline.toy_configs import CONFIGS as TOY_CONFIGS

# Counted on the published checkpoints' own configurations (docs, performance 1.2).
PUBLISHED = {
    "still/unet": 2_567_463_684,
    "still/vae": 83_653_863,
    "still/text_encoder": 123_060_480,
    "still/text_encoder_2": 694_659_840,
    "clip/unet": 1_524_623_082,
    "clip/vae": 97_742_847,
    "clip/image_encoder": 632_076_800,
}


@pytest.mark.parametrize("path", PATHS)
def test_each_network_has_the_published_number_of_parameters(path):
    with torch.device("meta"):
        network = build(path, CONFIGS[path])
    assert sum(weight.numel() for weight in network.parameters()) == PUBLISHED[path] == SIZES[path]


def test_toy_and_full_size_profiles_hold_the_same_networks():
    assert set(TOY_CONFIGS) == set(CONFIGS) == set(PATHS)
