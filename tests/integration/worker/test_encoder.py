"""Clips are encoded in a process of their own, to the same bytes, and its death is told with the clip."""

import fcntl
import os
import signal
import struct
import termios
import threading
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from node.pipeline.clip_order import ClipOrder
from node.pipeline.encoding import Encoders
from node.worker.deaths import EncoderDied
from node.worker.encoder import EncoderProcess

pytestmark = pytest.mark.integration


@pytest.fixture
def encoder():
    process = EncoderProcess()
    yield process
    process.close()


@pytest.fixture
def order(tmp_path):
    def make(name, frames=5, *, with_frames=False):
        blocks = np.random.default_rng(3).integers(0, 256, (frames, 4, 6, 3), dtype=np.uint8)
        file = tmp_path / f"{name}.safetensors"
        save_file({"data": blocks.repeat(16, axis=1).repeat(16, axis=2)}, file)
        (tmp_path / name).mkdir()
        return ClipOrder(2, file, 8, tmp_path / name, with_frames)

    return make


def written(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def await_order(pid):
    """Wait until an order stands in the pipe of a stopped encoder."""
    pipe = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    try:
        for _ in range(2000):
            if struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]:
                return
            time.sleep(0.01)
        raise AssertionError("no order came")
    finally:
        os.close(pipe)


def test_the_files_are_those_of_threads_in_this_process(encoder, order, tmp_path):
    paths = encoder.write_clip(order("theirs", with_frames=True))
    blocks = np.random.default_rng(3).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    clip = blocks.repeat(16, axis=1).repeat(16, axis=2)
    with Encoders() as encoders:
        assert encoders.write_clip(2, clip, 8, tmp_path / "ours", with_frames=True) == paths
    assert written(tmp_path / "theirs") == written(tmp_path / "ours")


def test_a_death_is_told_with_its_clip_and_the_next_order_gets_another_process(encoder, order):
    encoder.start()
    first = encoder.pid
    # It stops before it can read the order, so that the order is under way when it dies.
    os.kill(first, signal.SIGSTOP)
    told = []

    def ask():
        try:
            encoder.write_clip(order("lost"))
        except EncoderDied as error:
            told.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    await_order(first)
    os.kill(first, signal.SIGKILL)
    asking.join(20)
    assert told == ["while it wrote clip 2, the encoder was killed by signal 9"]
    assert len(encoder.write_clip(order("next"))) == 3
    assert encoder.pid != first


def test_an_encoder_that_died_with_nothing_to_do_is_replaced(encoder, order):
    encoder.start()
    first = encoder.pid
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert len(encoder.write_clip(order("next"))) == 3
    assert encoder.pid != first


def test_a_disk_that_fails_is_told_as_such_and_the_process_lives(encoder, order, tmp_path):
    broken = order("broken")
    broken.frames.unlink()
    with pytest.raises(OSError, match="No such file"):
        encoder.write_clip(broken)
    first = encoder.pid
    assert len(encoder.write_clip(order("next"))) == 3
    assert encoder.pid == first
