"""How far pictures are apart: formulas on known pictures, and files that show no such pictures."""

import asyncio
import math

import numpy as np
import pytest
from PIL import Image

from node.pipeline.containers import deflate, vp8, write_apng, write_mp4, write_webp
from node.verification.measuring import measure_apart
from node.verification.pictures import NotComparable, mean_squared_error, measure, psnr_db, ssim

STILL, APNG, WEBP, MP4 = "still.png", "clip.png", "clip.webp", "clip.mp4"


def noise(seed=1, frames=5, side=48):
    """Return [F, H, W, 3] of smooth random colours, which every codec keeps recognisable."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (frames, side // 8, side // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def write(folder, frames):
    folder.mkdir()
    Image.fromarray(frames[0]).save(folder / STILL)
    write_apng(folder / APNG, [deflate(frame) for frame in frames], 8)
    write_webp(folder / WEBP, [vp8(frame) for frame in frames], 8)
    write_mp4(folder / MP4, frames, 8)
    return folder


@pytest.fixture
def one(tmp_path):
    return write(tmp_path / "one", noise())


def test_equal_pictures_have_no_noise_and_a_likeness_of_one(one):
    found = measure(APNG, one, one)
    assert (found.frames, found.psnr_db, found.worst_psnr_db) == (5, None, None)
    assert found.ssim == found.worst_ssim == 1.0


def test_psnr_is_that_of_the_squared_error():
    grey = np.full((20, 20, 3), 100, np.uint8)
    assert mean_squared_error(grey, grey + 5) == 25
    assert psnr_db(25) == pytest.approx(10 * math.log10(255**2 / 25))
    assert mean_squared_error(grey - 100, grey + 155) == 255**2
    assert psnr_db(255**2) == 0


def direct_ssim(one, other):
    """Return SSIM by its definition, window by window."""
    reach = 5
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * 1.5**2))
    window = np.outer(kernel, kernel)[..., None]
    window = window / window.sum()
    values = []
    for row in range(reach, one.shape[0] - reach):
        for column in range(reach, one.shape[1] - reach):
            place = np.s_[row - reach : row + reach + 1, column - reach : column + reach + 1]
            x, y = one[place].astype(float), other[place].astype(float)
            mx, my = ((window * p).sum((0, 1)) for p in (x, y))
            vx, vy = ((window * p * p).sum((0, 1)) - m * m for p, m in ((x, mx), (y, my)))
            cov = (window * x * y).sum((0, 1)) - mx * my
            c1, c2 = 2.55**2, 7.65**2
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


def test_ssim_is_that_of_its_definition():
    first, second = noise(1, 1, 24)[0], noise(2, 1, 24)[0]
    blend = (0.7 * first + 0.3 * second).astype(np.uint8)
    for other in (second, blend):
        assert ssim(first, other) == pytest.approx(direct_ssim(first, other), abs=1e-9)
    assert ssim(first, blend) > ssim(first, second)


@pytest.mark.parametrize("name", [STILL, APNG, WEBP, MP4])
def test_a_slight_change_is_far_nearer_than_another_picture_in_every_container(tmp_path, one, name):
    slight = write(tmp_path / "slight", np.minimum(noise(), 250) + np.uint8(4))
    another = write(tmp_path / "another", noise(2))
    near, far = measure(name, slight, one), measure(name, another, one)
    assert near.psnr_db > 25 > far.psnr_db
    assert near.ssim > 0.9 > far.ssim
    assert near.worst_psnr_db <= near.psnr_db + 1e-9
    assert near.worst_ssim <= near.ssim


def test_clips_of_another_length_or_size_are_not_compared(tmp_path, one):
    shorter = write(tmp_path / "shorter", noise()[:3])
    smaller = write(tmp_path / "smaller", noise(side=32))
    for name in (APNG, MP4):
        with pytest.raises(NotComparable, match="numbers of their frames"):
            measure(name, shorter, one)
        with pytest.raises(NotComparable, match="32x32 and 48x48"):
            measure(name, smaller, one)


def test_files_that_are_no_pictures_are_named_beside_those_that_are(tmp_path, one):
    broken = write(tmp_path / "broken", noise())
    (broken / APNG).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (broken / WEBP).write_bytes((broken / WEBP).read_bytes()[:100])
    (broken / MP4).unlink()
    found = asyncio.run(measure_apart(broken, one, [STILL, APNG, WEBP, MP4]))
    assert [entry["path"] for entry in found] == [STILL, APNG, WEBP, MP4]
    assert found[0]["ssim"] == 1.0
    assert all("problem" in entry for entry in found[1:])


def test_a_picture_that_claims_to_be_enormous_costs_no_memory(tmp_path, one):
    huge = write(tmp_path / "huge", noise())
    content = bytearray((huge / STILL).read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    (huge / STILL).write_bytes(content)
    (found,) = asyncio.run(measure_apart(huge, one, [STILL]))
    assert "problem" in found
