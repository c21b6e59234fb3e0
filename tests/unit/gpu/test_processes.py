"""Whose a process on the GPU is, told from /proc without trusting its name."""

import os

import pytest

from node.gpu.processes import descends_from, process_name, runs_as, started_here
from tests.fakes.gpus import running_cat


@pytest.fixture
def child():
    with running_cat() as pid:
        yield pid


def test_a_process_that_this_one_started_is_ours_and_the_one_that_started_us_is_not(child):
    ours = started_here()
    assert ours(child)
    assert ours(os.getpid())
    assert not ours(os.getppid())
    assert not ours(1)


def test_a_process_that_is_gone_or_hidden_is_nobody_of_ours_and_has_no_name(tmp_path):
    assert not descends_from(4242, 1, tmp_path)
    assert process_name(4242, tmp_path) is None


def proc(folder, pid, parent, name):
    place = folder / str(pid)
    place.mkdir()
    (place / "comm").write_bytes(name + b"\n")
    (place / "stat").write_bytes(b"%d (%s) S %d 1 1 0" % (pid, name, parent))


def test_a_name_with_brackets_does_not_hide_the_parent(tmp_path):
    proc(tmp_path, 10, 5, b"a) S 7 (b")
    proc(tmp_path, 11, 10, b"x")
    assert descends_from(11, 5, tmp_path)
    assert not descends_from(11, 7, tmp_path)


def test_a_name_meant_to_deceive_a_terminal_is_made_plain(tmp_path):
    proc(tmp_path, 12, 1, b"\x1b[31mx\xff" + b"y" * 99)
    name = process_name(12, tmp_path)
    assert name.startswith("?[31mx")
    assert name.isascii()
    assert name.isprintable()
    assert len(name) == 32


def test_a_circle_of_parents_ends(tmp_path):
    proc(tmp_path, 20, 21, b"a")
    proc(tmp_path, 21, 20, b"b")
    assert not descends_from(20, 5, tmp_path)


def test_a_process_of_the_system_is_found_by_its_real_name(child):
    assert process_name(child) == "cat"


def test_a_process_is_known_by_its_user(child, tmp_path):
    assert runs_as(child, os.getuid())
    assert not runs_as(child, os.getuid() + 1)
    assert not runs_as(child, os.getuid(), tmp_path)
