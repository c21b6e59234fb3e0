"""Reservations of GPU memory: exact, idempotent, never more than there is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.gpu.ledger import OverCapacity, VramLedger
from node.types import GpuUuid, JobId

A, B = GpuUuid("GPU-a"), GpuUuid("GPU-b")
J1, J2 = JobId("j1"), JobId("j2")


def test_memory_is_promised_once_and_comes_back():
    ledger = VramLedger({A: 100})
    ledger.reserve(J1, A, 60)
    assert ledger.free_bytes(A) == 40
    with pytest.raises(OverCapacity, match="40 bytes left, job j2 needs 41"):
        ledger.reserve(J2, A, 41)
    assert ledger.free_bytes(A) == 40
    assert ledger.release(J1) == 60
    ledger.reserve(J2, A, 100)
    assert ledger.held(J2) == {A: 100}


def test_reserving_again_changes_nothing_and_another_size_replaces():
    ledger = VramLedger({A: 100})
    ledger.reserve(J1, A, 60)
    ledger.reserve(J1, A, 60)
    assert ledger.free_bytes(A) == 40
    ledger.reserve(J1, A, 100)
    assert ledger.free_bytes(A) == 0


def test_releasing_twice_gives_nothing_twice():
    ledger = VramLedger({A: 100})
    ledger.reserve(J1, A, 60)
    assert [ledger.release(J1), ledger.release(J1), ledger.free_bytes(A)] == [60, 0, 100]


def test_an_unknown_gpu_is_refused():
    with pytest.raises(OverCapacity, match="not one of this node's GPUs"):
        VramLedger({A: 100}).reserve(J1, B, 1)


@pytest.mark.parametrize("size", [0, -1])
def test_a_reservation_must_be_positive(size):
    with pytest.raises(ValueError, match="must be positive"):
        VramLedger({A: 100}).reserve(J1, A, size)


def test_a_negative_capacity_is_refused():
    with pytest.raises(ValueError, match="negative"):
        VramLedger({A: -1})


def test_a_job_is_placed_where_it_fits_most_tightly():
    ledger = VramLedger({A: 24, B: 80})
    assert ledger.place(20) == A
    ledger.reserve(J1, A, 20)
    assert ledger.place(20) == B
    assert ledger.place(81) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["j1", "j2", "j3"]), st.sampled_from([A, B]), st.integers(1, 70), st.booleans()
        ),
        max_size=40,
    )
)
def test_no_order_of_calls_overcommits_a_gpu_or_loses_memory(calls):
    ledger = VramLedger({A: 100, B: 50})
    for job, gpu, size, release in calls:
        if release:
            ledger.release(JobId(job))
        else:
            before = ledger.free_bytes(gpu)
            try:
                ledger.reserve(JobId(job), gpu, size)
            except OverCapacity:
                assert ledger.free_bytes(gpu) == before
        assert 0 <= ledger.free_bytes(A) <= 100
        assert 0 <= ledger.free_bytes(B) <= 50
    for job in ("j1", "j2", "j3"):
        ledger.release(JobId(job))
    assert (ledger.free_bytes(A), ledger.free_bytes(B)) == (100, 50)
