"""Which of the driver's errors a GPU survives."""

import pytest

from node.gpu.xid import xid


@pytest.mark.parametrize("number", [48, 79, 95, 119])
def test_an_error_of_the_hardware_is_fatal_and_has_a_remedy(number):
    error = xid(number, 5.0)
    assert error.fatal
    assert "reset" in error.remedy or "reboot" in error.remedy or "-r" in error.remedy


@pytest.mark.parametrize("number", [13, 31, 43, 45, 94])
def test_an_error_that_ends_one_program_leaves_the_gpu_in_use(number):
    assert not xid(number, 5.0).fatal


def test_an_error_without_an_entry_is_told_and_does_not_stop_anything():
    error = xid(4711, 5.0)
    assert not error.fatal
    assert "no name for" in error.meaning
    assert "dmesg" in error.remedy
