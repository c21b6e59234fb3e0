"""Convolutions over time as convolutions over an image, and weights laid out channels-last."""

import pytest
import torch
from torch import nn

from node.pipeline.acceleration.convolution import TemporalConvolution, to_channels_last


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("layout", ["frames outermost, channels last", "stock"])
def test_a_convolution_over_time_is_one_over_an_image(filled, difference, clips, layout):
    stock = filled(nn.Conv3d(6, 8, (3, 1, 1), padding=(1, 0, 0))).double()
    x = torch.randn(clips, 6, 5, 4, 3, dtype=torch.float64)
    if layout != "stock":
        x = x.permute(2, 0, 3, 4, 1).contiguous().permute(1, 4, 0, 2, 3)
    assert difference(TemporalConvolution(stock)(x), stock(x)) < 1e-14


def test_activations_laid_out_by_frames_are_not_copied(filled, monkeypatch):
    seen = []
    plain = nn.functional.conv2d
    monkeypatch.setattr(
        nn.functional, "conv2d", lambda x, *rest, **more: seen.append(x) or plain(x, *rest, **more)
    )
    layer = TemporalConvolution(filled(nn.Conv3d(6, 6, (3, 1, 1), padding=(1, 0, 0))))
    x = torch.randn(5, 2, 4, 3, 6).permute(1, 4, 0, 2, 3)  # [F, B, H, W, C] in memory
    layer(x)
    (image,) = seen
    assert image.data_ptr() == x.data_ptr()
    assert image.shape == (1, 6, 5, 2 * 4 * 3)
    assert image.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "stock",
    [
        nn.Conv3d(4, 4, 3, padding=1),
        nn.Conv3d(4, 4, (3, 1, 1)),
        nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0), groups=2),
    ],
    ids=["space", "unpadded", "groups"],
)
def test_another_kind_of_convolution_is_refused(stock):
    with pytest.raises(ValueError, match="not a convolution over three frames"):
        TemporalConvolution(stock)


def test_channels_last_is_for_weights_of_images_alone_and_fixes_their_strides():
    network = nn.ModuleList(
        [nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 1), nn.Conv3d(4, 8, (3, 1, 1)), nn.Linear(4, 8)]
    )
    before = [layer.weight.clone() for layer in network]
    to_channels_last(network)
    assert [layer.weight.stride() for layer in network] == [
        (36, 1, 12, 4),
        (4, 1, 4, 4),
        (12, 3, 1, 1, 1),
        (4, 1),
    ]
    assert all(torch.equal(layer.weight, weight) for layer, weight in zip(network, before, strict=True))
