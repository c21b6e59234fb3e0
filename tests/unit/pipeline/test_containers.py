"""Files that play at the framerate, hold the frames and nothing else, and come out the same every time."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from node.errors import JobFailed
from node.pipeline import containers

FRAMERATES = range(1, 21)


def picture(count=6, width=128, height=80, seed=5):
    blocks = np.random.default_rng(seed).integers(
        0, 256, (count, height // 16, width // 16, 3), dtype=np.uint8
    )
    return blocks.repeat(16, axis=1).repeat(16, axis=2)


@pytest.fixture(scope="module")
def frames():
    return picture()


@pytest.fixture(scope="module")
def deflated(frames):
    return [containers.deflate(frame) for frame in frames]


@pytest.fixture(scope="module")
def lossy(frames):
    return [containers.vp8(frame) for frame in frames]


def png_chunks(content):
    """Return the chunks of a PNG after checking their sums."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, []
    while at < len(content):
        (size,) = struct.unpack_from(">I", content, at)
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", content, at + 8 + size) == (zlib.crc32(kind + data),)
        chunks.append((kind, data))
        at += 12 + size
    return chunks


def riff_chunks(content, start=0):
    at, chunks = start, []
    while at < len(content):
        (size,) = struct.unpack_from("<I", content, at + 4)
        chunks.append((content[at : at + 4], content[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    assert at == len(content)
    return chunks


def atoms(content):
    """Return the boxes of an MP4 by kind, those inside moov included, in their order."""
    at, found = 0, []
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        assert 8 <= size <= len(content) - at
        body = content[at + 8 : at + size]
        found.append((kind, body))
        if kind in {b"moov", b"trak", b"mdia", b"minf", b"stbl"}:
            found.extend(atoms(body))
        at += size
    return found


@pytest.mark.parametrize("framerate", FRAMERATES)
def test_image_containers_show_every_frame_for_whole_milliseconds_for_ever(
    tmp_path, frames, deflated, lossy, framerate
):
    containers.write_apng(tmp_path / "a.png", deflated, framerate)
    containers.write_webp(tmp_path / "a.webp", lossy, framerate)
    for name in ("a.png", "a.webp"):
        with Image.open(tmp_path / name) as image:
            assert image.n_frames == len(frames)
            assert image.info["loop"] == 0
            for index in range(len(frames)):
                image.seek(index)
                image.load()
                assert image.info["duration"] == 1000 // framerate


def test_apng_follows_the_specification_chunk_by_chunk(tmp_path, frames, deflated):
    containers.write_apng(tmp_path / "a.png", deflated, 7)
    chunks = png_chunks((tmp_path / "a.png").read_bytes())
    kinds = [kind for kind, _ in chunks]
    assert kinds == [b"IHDR", b"acTL", b"fcTL", b"IDAT", *[b"fcTL", b"fdAT"] * (len(frames) - 1), b"IEND"]
    assert chunks[1][1] == struct.pack(">II", len(frames), 0)
    numbered = [data[:4] for kind, data in chunks if kind in {b"fcTL", b"fdAT"}]
    assert numbered == [struct.pack(">I", number) for number in range(2 * len(frames) - 1)]
    for kind, data in chunks:
        if kind == b"fcTL":
            assert struct.unpack(">IIIIIHHBB", data)[1:] == (128, 80, 0, 0, 142, 1000, 0, 0)


def test_webp_follows_the_specification_chunk_by_chunk(tmp_path, frames, lossy):
    containers.write_webp(tmp_path / "a.webp", lossy, 7)
    ((kind, body),) = riff_chunks((tmp_path / "a.webp").read_bytes())
    assert (kind, body[:4]) == (b"RIFF", b"WEBP")
    chunks = riff_chunks(body, start=4)
    assert [kind for kind, _ in chunks] == [b"VP8X", b"ANIM", *[b"ANMF"] * len(frames)]
    size = (127).to_bytes(3, "little") + (79).to_bytes(3, "little")
    assert chunks[0][1] == b"\x02\0\0\0" + size
    assert chunks[1][1] == bytes(6)
    for (_, data), frame in zip(chunks[2:], lossy, strict=True):
        assert data[:16] == bytes(6) + size + (142).to_bytes(3, "little") + b"\x02"
        assert riff_chunks(data, start=16) == [(b"VP8 ", frame.data)]


@pytest.mark.parametrize(("width", "height"), [(128, 80), (16, 16), (1024, 16)])
def test_apng_and_png_are_lossless(tmp_path, width, height):
    clip = np.random.default_rng(1).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    clip[2] = 0
    containers.write_apng(tmp_path / "a.png", [containers.deflate(frame) for frame in clip], 8)
    with Image.open(tmp_path / "a.png") as image:
        for index in range(3):
            image.seek(index)
            assert np.array_equal(np.asarray(image.convert("RGB")), clip[index])
    containers.write_png(tmp_path / "b.png", containers.deflate(clip[0]))
    with Image.open(tmp_path / "b.png") as image:
        assert (image.mode, getattr(image, "n_frames", 1)) == ("RGB", 1)
        assert np.array_equal(np.asarray(image), clip[0])


def test_a_frame_that_is_a_view_of_others_is_compressed_like_a_copy(frames):
    view = np.stack([frames[0], frames[1]], axis=-1)[..., 0]
    assert not view.flags.c_contiguous
    assert containers.deflate(view) == containers.deflate(frames[0])
    assert containers.vp8(view) == containers.vp8(frames[0])


def test_frames_of_a_webp_are_those_of_single_pictures_of_the_same_quality(frames, lossy):
    for frame, compressed in zip(frames, lossy, strict=True):
        file = io.BytesIO()
        Image.fromarray(frame).save(file, format="WEBP", quality=85, method=4)
        assert file.getvalue()[12:16] == b"VP8 "
        assert file.getvalue()[20 : 20 + len(compressed.data)] == compressed.data
        assert (compressed.width, compressed.height) == (128, 80)


def test_frames_that_do_not_change_are_all_kept(tmp_path, frames):
    still = frames[:1].repeat(25, axis=0)
    containers.write_apng(tmp_path / "a.png", [containers.deflate(frame) for frame in still], 8)
    containers.write_webp(tmp_path / "a.webp", [containers.vp8(frame) for frame in still], 8)
    containers.write_mp4(tmp_path / "a.mp4", still, 8)
    for name in ("a.png", "a.webp"):
        with Image.open(tmp_path / name) as image:
            assert image.n_frames == 25
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 25


@pytest.mark.parametrize("framerate", FRAMERATES)
def test_mp4_is_h264_at_exactly_the_framerate(tmp_path, frames, framerate):
    containers.write_mp4(tmp_path / "a.mp4", frames, framerate)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == framerate
        assert stream.start_time == 0
        assert stream.duration * stream.time_base == Fraction(len(frames), framerate)
        decoded = list(container.decode(stream))
    assert [frame.pts * frame.time_base for frame in decoded] == [
        Fraction(index, framerate) for index in range(len(frames))
    ]
    pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
    difference = np.abs(pixels[:, 8::16, 8::16].astype(int) - frames[:, 8::16, 8::16])
    assert difference.mean() < 12


def test_a_browser_finds_the_index_of_the_mp4_before_the_pictures(tmp_path, frames):
    containers.write_mp4(tmp_path / "a.mp4", frames, 8)
    found = atoms((tmp_path / "a.mp4").read_bytes())
    kinds = [kind for kind, _ in found]
    assert kinds[0] == b"ftyp"
    assert kinds.index(b"moov") < kinds.index(b"mdat")
    assert kinds.count(b"trak") == 1
    sample_sizes = dict(found)[b"stsz"]
    assert struct.unpack_from(">I", sample_sizes, 8) == (len(frames),)


@pytest.mark.parametrize("kind", [b"mvhd", b"tkhd", b"mdhd"])
def test_an_mp4_names_no_moment_at_which_it_was_made(tmp_path, frames, kind):
    containers.write_mp4(tmp_path / "a.mp4", frames, 8)
    header = dict(atoms((tmp_path / "a.mp4").read_bytes()))[kind]
    created_and_modified = header[4:12] if header[0] == 0 else header[4:20]
    assert not any(created_and_modified)


def test_the_same_frames_give_the_same_bytes_whoever_compresses_them(tmp_path):
    clip = picture(count=12, width=320, height=176)
    for name, threads in (("a", 1), ("b", 3)):
        with ThreadPoolExecutor(threads) as pool:
            containers.write_apng(tmp_path / f"{name}.png", list(pool.map(containers.deflate, clip)), 8)
            containers.write_webp(tmp_path / f"{name}.webp", list(pool.map(containers.vp8, clip)), 8)
        containers.write_mp4(tmp_path / f"{name}.mp4", clip.copy(), 8)
    for suffix in ("png", "webp", "mp4"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


ON_ONE_PROCESSOR = """
import os, sys
from pathlib import Path
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np
from node.pipeline import containers
containers.write_mp4(Path(sys.argv[2]), np.load(sys.argv[1]), 8)
"""


def test_an_mp4_does_not_depend_on_the_number_of_processors(tmp_path):
    clip = picture(count=25, width=320, height=176)
    np.save(tmp_path / "clip.npy", clip)
    containers.write_mp4(tmp_path / "a.mp4", clip, 8)
    command = [sys.executable, "-c", ON_ONE_PROCESSOR, tmp_path / "clip.npy", tmp_path / "b.mp4"]
    subprocess.run(command, check=True, timeout=60, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_files_carry_no_metadata(tmp_path, frames, deflated, lossy):
    containers.write_apng(tmp_path / "a.png", deflated, 8)
    containers.write_webp(tmp_path / "a.webp", lossy, 8)
    containers.write_mp4(tmp_path / "a.mp4", frames, 8)
    content = (tmp_path / "a.png").read_bytes()
    assert not any(kind in content for kind in (b"tEXt", b"iTXt", b"zTXt", b"tIME", b"eXIf"))
    assert b"EXIF" not in (tmp_path / "a.webp").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as container:
        metadata = json.dumps([container.metadata, container.streams.video[0].metadata])
        assert "creation_time" not in metadata
        assert "Lavf" not in metadata


def test_a_file_that_cannot_be_written_is_the_disks_fault_and_impossible_frames_are_the_jobs(
    tmp_path, frames
):
    with pytest.raises(OSError, match="No such file"):
        containers.write_mp4(tmp_path / "missing" / "a.mp4", frames, 8)
    with pytest.raises(JobFailed, match=r"H\.264"):
        containers.write_mp4(tmp_path / "a.mp4", frames[:, :, :1], 8)
