"""Reservations of GPU memory: exact, idempotent, never more than there is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.gpu.ledger import Claim, OverCapacity, VramLedger
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


def test_jobs_of_one_slot_take_turns_and_slots_add_up():
    ledger = VramLedger({A: 100})
    ledger.reserve(J1, A, 60, "sdv-1.1")
    ledger.reserve(J2, A, 50, "sdv-1.1")
    assert ledger.promised_bytes(A) == 60
    with pytest.raises(OverCapacity, match="40 bytes left"):
        ledger.reserve(JobId("j3"), A, 41, "sdv-1.0")
    ledger.release(J1)
    assert ledger.promised_bytes(A) == 50


def test_a_job_waits_where_the_fewest_wait():
    ledger = VramLedger({A: 24, B: 80})
    claims = {JobId(f"j{number}"): Claim(20, "sdv-1.1") for number in range(1, 5)}
    assert ledger.settle(claims) == ()
    assert ledger.jobs_on(A) == ("j1", "j3")
    assert ledger.jobs_on(B) == ("j2", "j4")


def test_what_ended_is_given_back_and_what_goes_on_stays_where_it_is():
    ledger = VramLedger({A: 24, B: 80})
    ledger.settle({J1: Claim(20), J2: Claim(20)})
    place = ledger.held(J2)
    assert ledger.settle({J2: Claim(20)}) == ()
    assert ledger.held(J1) == {}
    assert ledger.held(J2) == place


def test_after_a_restart_the_open_jobs_have_their_memory_again():
    claims = {J1: Claim(20, "sdv-1.1"), J2: Claim(20, "sdv-1.1")}
    before = VramLedger({A: 24})
    before.settle(claims)
    after = VramLedger({A: 24})
    assert after.settle(claims) == ()
    assert after.held(J1) == before.held(J1)
    assert after.promised_bytes(A) == before.promised_bytes(A)


def test_a_gpu_that_is_lost_takes_its_promises_along_and_its_jobs_move():
    ledger = VramLedger({A: 24, B: 24})
    ledger.settle({J1: Claim(20, "s"), J2: Claim(20, "s")})
    ledger.resize({B: 24})
    assert ledger.settle({J1: Claim(20, "s"), J2: Claim(20, "s")}) == ()
    assert ledger.jobs_on(B) == (J2, J1) or ledger.jobs_on(B) == (J1, J2)
    ledger.resize({})
    assert ledger.settle({J1: Claim(20, "s"), J2: Claim(20, "s")}) == (J1, J2)


def test_memory_that_others_took_breaks_no_promise_and_allows_no_new_one():
    ledger = VramLedger({A: 24})
    ledger.settle({J1: Claim(20, "s")})
    ledger.resize({A: 10})
    assert ledger.settle({J1: Claim(20, "s"), J2: Claim(20, "s")}) == (J2,)
    assert ledger.held(J1) == {A: 20}
    assert ledger.free_bytes(A) == 0


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["j1", "j2", "j3", "j4"]),
            st.tuples(st.integers(1, 120), st.sampled_from(["s", "t", None])),
        ),
        max_size=12,
    ),
    st.lists(st.integers(0, 150), min_size=2, max_size=2),
)
def test_settling_promises_each_job_once_and_nothing_beyond_capacity(rounds, sizes):
    capacity = dict(zip((A, B), sizes, strict=True))
    ledger = VramLedger(capacity)
    for wanted in rounds:
        claims = {JobId(name): Claim(size, slot) for name, (size, slot) in wanted.items()}
        homeless = ledger.settle(claims)
        assert ledger.settle(claims) == homeless
        held = {job_id: ledger.held(job_id) for job_id in claims}
        assert all(len(places) == (0 if job_id in homeless else 1) for job_id, places in held.items())
        assert {job for gpu in capacity for job in ledger.jobs_on(gpu)} == claims.keys() - set(homeless)
        assert all(ledger.promised_bytes(gpu) <= size for gpu, size in capacity.items())
