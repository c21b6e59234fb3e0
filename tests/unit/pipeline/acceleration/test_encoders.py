"""Encoders stored in half precision compute bit for bit what rounded float32 weights compute."""

import copy

import pytest
import torch

from node.pipeline.acceleration.encoders import store_half
from node.pipeline.checkpoints.networks import build
from node.pipeline.toy_configs import CONFIGS

_ENCODERS = ("still/text_encoder", "still/text_encoder_2", "clip/image_encoder")
# What the reference never rounds (docs, pipeline 2), written out.
_WIDE_IN_VISION = {
    "vision_model.embeddings.class_embedding",
    "vision_model.embeddings.patch_embedding.weight",
    "vision_model.embeddings.position_embedding.weight",
    "vision_model.pre_layrnorm.weight",
    "vision_model.pre_layrnorm.bias",
    "vision_model.post_layernorm.weight",
    "vision_model.post_layernorm.bias",
    "visual_projection.weight",
}


def make(path):
    encoder = build(path, CONFIGS[path]).eval().requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(7)
    for parameter in encoder.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return encoder


def rounded(encoder):
    """The same encoder with the weights rounded by hand and kept wide."""
    wide = copy.deepcopy(encoder)
    for name, parameter in wide.named_parameters():
        if name not in _WIDE_IN_VISION and "token_embedding" not in name and "position_embedding" not in name:
            parameter.copy_(parameter.half().float())
    return wide


def run(path, encoder):
    if path == "clip/image_encoder":
        given = {"pixel_values": torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(8))}
    else:
        given = {"input_ids": torch.arange(2 * 77).view(2, 77)}
    with torch.inference_mode():
        output = encoder(**given, output_hidden_states=True)
    return [value for field in output.values() for value in (field if isinstance(field, tuple) else (field,))]


@pytest.mark.parametrize("path", _ENCODERS)
def test_outputs_are_those_of_rounded_weights_in_float32_to_the_bit(path):
    encoder = make(path)
    expected = run(path, rounded(encoder))
    store_half(encoder)
    found = run(path, encoder)
    assert len(found) == len(expected) > 3
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


def test_rounding_changes_the_outputs_at_all():
    path = "clip/image_encoder"
    encoder = make(path)
    assert not torch.equal(run(path, encoder)[0], run(path, rounded(encoder))[0])


def test_the_projection_of_pooled_states_is_a_layer_of_its_own_and_halved():
    encoder = make("still/text_encoder_2")
    x = torch.randn(1, 32, generator=torch.Generator().manual_seed(9))
    expected = rounded(encoder).text_projection(x)
    store_half(encoder)
    assert torch.equal(encoder.text_projection(x), expected)
    assert encoder.text_projection.weight.dtype == torch.float16


def test_only_what_the_reference_keeps_wide_stays_wide():
    encoder = make("clip/image_encoder")
    store_half(encoder)
    wide = {name for name, weight in encoder.named_parameters() if weight.dtype == torch.float32}
    assert wide == _WIDE_IN_VISION
    assert encoder.dtype == torch.float32, "inputs are given in the type that the encoder names"


def test_weights_that_are_not_float32_or_of_unknown_layers_are_refused():
    with pytest.raises(ValueError, match=r"float64; encoders are rounded from torch\.float32"):
        store_half(make("still/text_encoder").double())
    encoder = make("still/text_encoder")
    encoder.extra = torch.nn.Conv1d(2, 2, 1)
    with pytest.raises(ValueError, match="extra is a Conv1d"):
        store_half(encoder)
