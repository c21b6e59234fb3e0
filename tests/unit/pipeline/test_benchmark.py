"""The benchmark computes under the pipeline's own switches."""

import pytest
import torch

from node.pipeline.profiles import load_profile
from scripts.benchmarks.pipeline import switches
from scripts.benchmarks.pipeline.networks import TINY


@pytest.mark.parametrize(
    ("dtype", "precisions"),
    [(torch.float32, ("float32", "float32")), (torch.float16, ("float16", "bfloat16"))],
)
def test_a_leg_stands_for_a_profile_of_its_size_and_precision(dtype, precisions):
    profile = switches.profile(TINY, torch.device("cpu"), dtype, "eager")
    tiny = load_profile("tiny")
    assert (profile.precision, profile.vae_precision) == precisions
    assert (profile.still_size, profile.clip_width, profile.clip_height, profile.frames) == (
        tiny.still_size,
        tiny.clip_width,
        tiny.clip_height,
        tiny.frames,
    )
    assert profile.placed("swapped").memory_gb == 0
