"""From pictures to network inputs and to bytes, against resampling of our own in float64 numpy."""

import numpy as np
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


def noise_image(height, width, seed=0):
    return torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(seed))


def antialiased_bicubic(source, target):
    """The [target, source] matrix of Keys' cubic with a = -0.5, widened by the factor of a reduction."""
    scale = source / target
    widened = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source) + 0.5 - centres[:, None]) / widened
    a = -0.5
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return weights / weights.sum(axis=1, keepdims=True)


def plain_bilinear(source, target):
    """The [target, source] matrix of linear interpolation between pixel centres, the edges held."""
    places = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    return np.maximum(0.0, 1.0 - np.abs(np.arange(source) - places[:, None]))


def resized(image, matrix, height, width):
    pixels = image[0].double().numpy()
    rows = np.einsum("hi,iwc->hwc", matrix(pixels.shape[0], height), pixels)
    return np.einsum("wj,hjc->hwc", matrix(pixels.shape[1], width), rows)


@pytest.mark.parametrize(
    ("height", "width", "scaled", "top", "left"),
    [
        (256, 256, (224, 224), 0, 0),
        (300, 401, (224, 299), 0, 37),
        (500, 260, (431, 224), 103, 0),
        # Enlarging: the same kernel, not widened.
        (100, 141, (224, 316), 0, 46),
    ],
)
def test_clip_vision_resizes_by_antialiased_bicubic_and_floors_the_offset(height, width, scaled, top, left):
    image = noise_image(height, width)
    exact = resized(image, antialiased_bicubic, *scaled)[top : top + 224, left : left + 224]
    seen = (clip_vision_input(image) * STD + MEAN)[0].movedim(0, -1).double().numpy() * 255
    # Whole numbers of 255ths, each the nearest to the exact value up to the float32 of the kernel's centres.
    assert np.abs(seen - np.round(seen)).max() < 1e-3
    assert np.abs(seen - np.clip(255 * exact, 0, 255)).max() < 0.5 + 5e-3


def test_clip_vision_input_is_normalised_with_the_means_of_clip():
    seen = clip_vision_input(torch.ones(1, 224, 224, 3))[0, :, 0, 0]
    assert seen.tolist() == pytest.approx(
        [(1 - 0.48145466) / 0.26862954, (1 - 0.4578275) / 0.26130258, (1 - 0.40821073) / 0.27577711]
    )


def test_clip_vision_sees_the_whole_square_and_not_the_clip_s_crop():
    image = torch.zeros(1, 256, 256, 3)
    image[:, :40] = 1.0
    assert float((clip_vision_input(image) * STD + MEAN)[0, :, 0].min()) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "top", "left"),
    [
        # Too tall: of 97 rows 150 * 9 / 16 = 84.4 are wanted, so 6.3 go above and below.
        (97, 150, 6, 0),
        # Too wide: of 302 columns 90 * 16 / 9 = 160 are wanted, so 71 go on either side.
        (90, 302, 0, 71),
        (45, 80, 0, 0),
    ],
)
def test_the_video_encoder_sees_the_middle_resized_bilinearly(height, width, top, left):
    image = noise_image(height, width)
    cut = image[:, top : height - top, left : width - left]
    expected = resized(cut, plain_bilinear, 36, 64) * 2 - 1
    init = video_init(image, width=64, height=36)
    assert init.shape == (1, 3, 36, 64)
    assert np.abs(init[0].movedim(0, -1).double().numpy() - expected).max() < 1e-5


def test_a_transparency_channel_is_left_out():
    image = torch.cat([noise_image(60, 60), torch.zeros(1, 60, 60, 1)], dim=-1)
    assert torch.equal(video_init(image, 64, 36), video_init(image[..., :3], 64, 36))
    assert torch.equal(clip_vision_input(image), clip_vision_input(image[..., :3]))


def test_8_bits_are_those_of_a_plain_cast():
    values = torch.linspace(-0.5, 1.5, 100_001)
    expected = np.clip(255.0 * values.numpy(), 0, 255).astype(np.uint8)
    assert np.array_equal(to_uint8(values).numpy(), expected)
    assert to_uint8(values.reshape(1, 1, -1)).shape == (1, 1, 100_001)
    for level in range(256):
        assert int(to_uint8(torch.tensor((level + 0.5) / 255))) == level
