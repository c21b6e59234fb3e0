"""Clips are encoded beside the work on the next one: errors come out, order and bytes do not depend on it."""

import threading

import numpy as np
import pytest

from node.job.outputs import frame_path, image_path
from node.pipeline import containers
from node.pipeline.encoding import Encoders


@pytest.fixture
def clip():
    blocks = np.random.default_rng(3).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    return blocks.repeat(16, axis=1).repeat(16, axis=2)


def test_a_clip_is_written_in_every_container_in_the_order_of_the_manifest(tmp_path, clip):
    with Encoders() as encoders:
        written = encoders.start(
            lambda: encoders.write_clip(2, clip, 8, tmp_path / "a", with_frames=True)
        ).result()
    assert written == [
        "outputs/output_00002_.png",
        "outputs/output_00002_.webp",
        "outputs/output_00002_.mp4",
        *(f"outputs/frames_00002_/frame_0000{frame}_.png" for frame in range(1, 6)),
    ]
    files = {str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert files == set(written)


def test_asking_for_frames_changes_no_other_file(tmp_path, clip):
    with Encoders() as encoders:
        plain = encoders.write_clip(1, clip, 8, tmp_path / "a", with_frames=False)
        encoders.write_clip(1, clip, 8, tmp_path / "b", with_frames=True)
    assert len(plain) == 3
    for path in plain:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_a_still_is_the_same_png_as_a_frame_with_its_pixels(tmp_path, clip):
    with Encoders() as encoders:
        assert encoders.write_still(1, clip[0], tmp_path) == [image_path(1)]
        encoders.write_clip(1, clip, 8, tmp_path, with_frames=True)
    frame = tmp_path / frame_path(1, 1)
    assert (tmp_path / image_path(1)).read_bytes() == frame.read_bytes()


def test_work_goes_on_while_a_clip_is_encoded_and_clips_keep_their_order():
    begun, go_on = threading.Event(), threading.Event()
    order = []

    def encode(number):
        begun.set()
        assert go_on.wait(30)
        order.append(number)
        return number

    with Encoders() as encoders:
        clips = [encoders.start(encode, number) for number in range(3)]
        assert begun.wait(30)
        encoders.check()
        assert order == []
        go_on.set()
        assert [clip.result() for clip in clips] == order == [0, 1, 2]


def test_the_error_of_an_encoder_comes_out_before_the_job_is_over(tmp_path, clip):
    with Encoders() as encoders:
        failed = encoders.start(encoders.write_still, 1, clip[0], tmp_path / "a\0b")
        assert isinstance(failed.exception(30), ValueError)
        with pytest.raises(ValueError, match="null"):
            encoders.check()


def test_a_full_disk_is_told_by_every_container(tmp_path, clip, monkeypatch):
    def refuse(*_arguments):
        raise OSError("no space left")

    for writer in ("write_apng", "write_webp", "write_mp4"):
        with monkeypatch.context() as patch, Encoders() as encoders:
            patch.setattr(containers, writer, refuse)
            with pytest.raises(OSError, match="no space left"):
                encoders.write_clip(1, clip, 8, tmp_path / writer, with_frames=False)


def test_when_a_job_ends_early_running_work_is_waited_for_and_waiting_work_is_dropped():
    begun, go_on, done = threading.Event(), threading.Event(), []

    def encode(number):
        begun.set()
        assert go_on.wait(30)
        done.append(number)

    def lose_the_device():
        with Encoders() as encoders:
            for number in range(3):
                encoders.start(encode, number)
            assert begun.wait(30)
            threading.Timer(0.05, go_on.set).start()
            raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError, match="the device is gone"):
        lose_the_device()
    assert done == [0]
