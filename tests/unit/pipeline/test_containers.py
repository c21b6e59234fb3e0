"""Files that play at the framerate, hold the frames and nothing else, and come out the same every time."""

import json
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from node.pipeline import containers


@pytest.fixture(scope="module")
def frames():
    generator = np.random.default_rng(5)
    blocks = generator.integers(0, 256, (6, 5, 8, 3), dtype=np.uint8)
    return blocks.repeat(16, axis=1).repeat(16, axis=2)


@pytest.mark.parametrize(
    ("framerate", "duration_ms"), [(1, 1000), (6, 166), (7, 142), (8, 125), (16, 62), (20, 50)]
)
def test_image_containers_show_a_frame_for_whole_milliseconds(tmp_path, frames, framerate, duration_ms):
    for name, write in (("a.png", containers.write_apng), ("a.webp", containers.write_webp)):
        write(tmp_path / name, frames, framerate)
        with Image.open(tmp_path / name) as image:
            assert image.n_frames == 6
            assert image.info["loop"] == 0
            for index in range(6):
                image.seek(index)
                image.load()
                assert image.info["duration"] == duration_ms


def test_apng_and_png_are_lossless(tmp_path, frames):
    containers.write_apng(tmp_path / "a.png", frames, 8)
    with Image.open(tmp_path / "a.png") as image:
        for index in range(6):
            image.seek(index)
            assert np.array_equal(np.asarray(image.convert("RGB")), frames[index])
    containers.write_png(tmp_path / "b.png", frames[0])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), frames[0])


@pytest.mark.parametrize("framerate", [1, 7, 20])
def test_mp4_is_h264_at_exactly_the_framerate(tmp_path, frames, framerate):
    containers.write_mp4(tmp_path / "a.mp4", frames, framerate)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == framerate
        assert stream.duration * stream.time_base == Fraction(6, framerate)
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == 6
    difference = np.abs(np.stack(decoded)[:, 8::16, 8::16].astype(int) - frames[:, 8::16, 8::16])
    assert difference.mean() < 12


def test_a_browser_finds_the_index_of_the_mp4_before_the_pictures(tmp_path, frames):
    containers.write_mp4(tmp_path / "a.mp4", frames, 8)
    content = (tmp_path / "a.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_the_same_frames_give_the_same_bytes(tmp_path, frames):
    for name, write in (
        ("png", containers.write_apng),
        ("webp", containers.write_webp),
        ("mp4", containers.write_mp4),
    ):
        write(tmp_path / f"a.{name}", frames, 8)
        write(tmp_path / f"b.{name}", frames.copy(), 8)
        assert (tmp_path / f"a.{name}").read_bytes() == (tmp_path / f"b.{name}").read_bytes()


def test_files_carry_no_metadata(tmp_path, frames):
    containers.write_apng(tmp_path / "a.png", frames, 8)
    containers.write_webp(tmp_path / "a.webp", frames, 8)
    containers.write_mp4(tmp_path / "a.mp4", frames, 8)
    content = (tmp_path / "a.png").read_bytes()
    assert not any(kind in content for kind in (b"tEXt", b"iTXt", b"zTXt", b"tIME", b"eXIf"))
    assert b"EXIF" not in (tmp_path / "a.webp").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert "creation_time" not in json.dumps([container.metadata, container.streams.video[0].metadata])
