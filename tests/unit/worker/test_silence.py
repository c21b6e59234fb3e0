"""A worker is believed to work only while it loads in time and does a step now and then."""

import pytest

from node.worker.silence import Silence
from tests.fakes.clock import FakeClock

LOAD_S, PROGRESS_S = 100.0, 10.0


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def silence(clock):
    return Silence(clock, load_s=LOAD_S, progress_s=PROGRESS_S)


def test_loading_may_take_as_long_as_is_set_and_no_longer(silence, clock):
    clock.time += LOAD_S
    assert silence.is_fine()
    clock.time += 1
    assert not silence.is_fine()


def test_a_job_must_move_on_and_each_step_gives_it_time_again(silence, clock):
    for _ in range(3):
        silence.step()
        clock.time += PROGRESS_S
        assert silence.is_fine()
    clock.time += 1
    assert not silence.is_fine()


def test_a_worker_with_nothing_to_do_may_be_silent_for_ever(silence, clock):
    silence.step()
    silence.rest()
    clock.time += 10**6
    assert silence.is_fine()
