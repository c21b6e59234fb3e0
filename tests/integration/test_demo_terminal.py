"""The demo on a terminal: it stays up until Enter or Ctrl-C, and a second one does it no harm."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]
FAST = ("-i", "Steps=5", "-i", "VideoSteps=5")


def start_demo(directory):
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "node.cli.main", "--data-dir", str(directory), "demo", *FAST, "a fox"]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True
    )
    os.close(slave)
    return process, master


def read_until(master, text, seconds=120):
    seen, end = "", time.monotonic() + seconds
    while text not in seen:
        assert time.monotonic() < end, seen
        try:
            seen += os.read(master, 65536).decode(errors="replace")
        except OSError:
            break
    return seen


def test_ctrl_c_ends_a_demo_that_waits_and_a_second_demo_meanwhile_is_refused(tmp_path):
    first, master = start_demo(tmp_path)
    try:
        assert "paid" in read_until(master, "until you press Enter")
        second = subprocess.run(
            [sys.executable, "-m", "node.cli.main", "--data-dir", str(tmp_path), "demo", "another"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert "another sdv-node" in second.stderr
        assert (tmp_path / "demo" / "node" / "journal.sqlite").exists(), "the first one keeps its journal"
        first.send_signal(signal.SIGINT)
        assert first.wait(timeout=30) == 130
        assert "Traceback" not in read_until(master, "\0", seconds=5)
    finally:
        first.kill()
        os.close(master)
