"""From pictures to network inputs and to bytes."""

import pytest
import torch

from node.pipeline.pixels import clip_vision_input, from_decoder, to_uint8, video_init

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).reshape(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).reshape(3, 1, 1)


def columns(height, width):
    """An image whose red is its column and whose green is its row, as fractions of 1000."""
    image = torch.zeros(1, height, width, 3)
    image[..., 0] = torch.arange(width) / 1000
    image[..., 1] = (torch.arange(height) / 1000)[:, None]
    return image


def test_8_bits_are_cut_off_and_never_rounded():
    values = torch.tensor([0.0, 0.999, 254.999 / 255, 1.0, -3.0, 7.0, float("nan"), float("inf")])
    assert to_uint8(values).tolist() == [0, 254, 254, 255, 0, 255, 0, 255]
    assert to_uint8(values).dtype == torch.uint8


def test_decoder_output_becomes_a_picture_from_0_to_1():
    decoded = torch.tensor([-1.0, 0.0, 3.0]).reshape(1, 3, 1, 1)
    assert from_decoder(decoded).tolist() == [[[[0.0, 0.5, 1.0]]]]


def test_clip_vision_scales_the_short_side_and_cuts_the_centre_square():
    seen = clip_vision_input(columns(448, 896))
    assert seen.shape == (1, 3, 224, 224)
    red = (seen * STD + MEAN)[0, 0, 100]
    # 896 columns shrink to 448; the centre square is columns 112..335, each the mean of two.
    assert float(red[0]) == pytest.approx((224 + 225) / 2 / 1000, abs=3e-3)
    assert float(red[-1]) == pytest.approx((670 + 671) / 2 / 1000, abs=3e-3)


def test_clip_vision_sees_values_of_8_bits_rounded():
    image = torch.full((1, 224, 224, 3), 0.5)
    seen = (clip_vision_input(image) * STD + MEAN)[0, :, 0, 0]
    assert seen.tolist() == pytest.approx([128 / 255] * 3, abs=1e-6)


def test_a_picture_of_224_is_not_resized():
    image = torch.randint(0, 256, (1, 224, 224, 3)) / 255
    restored = (clip_vision_input(image) * STD + MEAN).movedim(1, -1)
    assert torch.allclose(restored, image, atol=1e-6)


def test_a_square_still_loses_224_rows_above_and_below_and_is_not_resampled():
    image = columns(1024, 1024)
    init = video_init(image)
    assert init.shape == (1, 3, 576, 1024)
    expected = image[:, 224:800].movedim(-1, 1) * 2 - 1
    assert torch.allclose(init, expected, atol=1e-6)


def test_a_wide_still_loses_columns():
    init = video_init(columns(90, 200), width=160, height=90)
    red = (init[0, 0, 0] + 1) / 2 * 1000
    assert red[[0, -1]].tolist() == pytest.approx([20, 179], abs=1e-3)


def test_the_crop_is_resized_bilinearly_without_antialiasing():
    init = video_init(columns(64, 64), width=16, height=16)
    red = (init[0, 0, 0] + 1) / 2 * 1000
    # Four columns become one: halfway between the two in the middle.
    assert red.tolist() == pytest.approx([1.5 + 4 * index for index in range(16)], abs=1e-3)
