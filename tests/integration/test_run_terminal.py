"""``run`` on a small terminal: the table of proposals is live, and whole lines stay behind."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import time
from rich.console import Console
from node.cli.run_display import RunDisplay
from node.requester import steps
from node.requester.track_record import TrackRecord
from node.types import Address, DealId, Wei

TOKEN = 10**18
with RunDisplay(Console()) as display:
    display(steps.Started("0123456789ab"))
    for number in range(30):
        provider = Address(f"0x{number:040x}")
        display(steps.ProposalSeen(DealId(f"j1-{number}"), provider, Wei((number + 1) * TOKEN), Wei(TOKEN)))
    display._live.refresh()
    input()
    display(steps.Chosen(DealId("j1-0"), Address("0x" + "0" * 40), Wei(TOKEN), 30))
    display(steps.DealAgreed(DealId("j1-0"), Wei(2 * TOKEN)))
"""
COLUMNS, LINES = 60, 12


def test_a_small_terminal_is_not_overrun_and_keeps_the_table_once():
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", "LANG": "C.UTF-8"},
        start_new_session=True,
    )
    os.close(slave)
    try:
        live = read_until(master, "more")
        assert "0x000000…0000" in live
        assert "and 25 more" in live
        os.write(master, b"\n")
        rest = read_until(master, "the job runs")
        assert process.wait(timeout=30) == 0, rest
    finally:
        process.kill()
        os.close(master)
    frame = live[live.rindex("provider") :]
    assert len(frame.splitlines()) <= LINES
    assert "agreed" in rest


def read_until(master, text, seconds=60):
    seen, end = "", time.monotonic() + seconds
    while text not in seen:
        assert time.monotonic() < end, seen
        try:
            seen += os.read(master, 65536).decode(errors="replace")
        except OSError:
            break
    return seen


pytestmark = [pytest.mark.integration]
