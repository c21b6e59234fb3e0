"""The waiting room: bounded, and shared fairly between requesters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.admission.places import Places, share_out
from node.job.job import job_id_for
from node.job.sifting import Refused
from tests.fakes.jobs import make_offer

ROOM = Places(total=6, per_requester=3)


def account(mark):
    return f"0x{mark:040x}"


def offers(*requesters, first=1):
    return [make_offer(number, account(mark)) for number, mark in enumerate(requesters, first)]


def holding(*requesters):
    return {job_id_for(number): account(mark) for number, mark in enumerate(requesters, 100)}


def kinds(sifted):
    return {position: left.kind for position, left in sifted.left.items()}


def test_a_room_with_places_takes_everybody():
    sifted = share_out(offers(1, 2, 2), holding(1, 3), ROOM)
    assert (sifted.left, sifted.displaced) == ({}, {})


def test_one_requester_fills_no_more_than_its_own_share():
    sifted = share_out(offers(1, 1, 1), holding(1, 1), ROOM)
    assert kinds(sifted) == {1: Refused.REQUESTER_LIMIT, 2: Refused.REQUESTER_LIMIT}
    assert "3 offers of this requester wait" in sifted.left[1].reason


def test_in_a_full_room_the_newest_offer_of_whoever_has_most_makes_room():
    sifted = share_out(offers(9), holding(1, 1, 1, 2, 2, 2), ROOM)
    assert sifted.left == {}
    assert list(sifted.displaced) == ["j102"], "the newest of the first that has most"


def test_nobody_is_displaced_for_somebody_who_would_then_have_as_many():
    sifted = share_out(offers(1, 7), holding(1, 2, 3, 4, 5, 6), ROOM)
    assert kinds(sifted) == {0: Refused.CROWDED, 1: Refused.CROWDED}
    assert sifted.displaced == {}


def test_arrivals_of_one_batch_are_served_in_turns():
    sifted = share_out(offers(1, 1, 1, 2, 3), holding(7, 8, 9), ROOM)
    assert kinds(sifted) == {1: Refused.CROWDED, 2: Refused.CROWDED}


def test_an_arrival_that_made_room_for_a_later_one_is_left():
    room = Places(total=2, per_requester=2)
    sifted = share_out(offers(1, 1, 2), {}, room)
    assert kinds(sifted) == {1: Refused.CROWDED}
    assert sifted.displaced == {}


def test_an_offer_that_is_read_again_keeps_its_place_and_takes_no_other():
    waiting = {job_id_for(number): account(1) for number in (1, 2, 3)}
    sifted = share_out(offers(1, 1, 1, 2), waiting, Places(total=4, per_requester=3))
    assert (sifted.left, sifted.displaced) == ({}, {})


accounts = st.integers(1, 5)


@given(st.lists(accounts, max_size=12), st.lists(accounts, max_size=12), st.integers(1, 8), st.integers(1, 4))
def test_the_room_never_overflows_and_who_is_left_out_has_a_fair_share(before, arriving, total, each):
    room = Places(total, each)
    at_first = share_out(offers(*before), {}, room)
    waiting = {
        f"j{number}": account(mark)
        for number, mark in enumerate(before, 1)
        if number - 1 not in at_first.left
    }
    sifted = share_out(offers(*arriving, first=50), waiting, room)
    held = [mark for job_id, mark in waiting.items() if job_id not in sifted.displaced]
    held += [account(mark) for position, mark in enumerate(arriving) if position not in sifted.left]
    share = {mark: held.count(mark) for mark in held}
    assert len(held) <= total
    assert max(share.values(), default=0) <= each
    for position in sifted.left:
        mine = share.get(account(arriving[position]), 0)
        assert mine == each or (len(held) == total and max(share.values()) <= mine + 1)


@pytest.mark.parametrize("senders", [1, 10_000])
def test_a_flood_leaves_a_place_for_one_more_requester(senders):
    room = Places(total=256, per_requester=16)
    flood = offers(*(1 + n % senders for n in range(10_000)))
    left = share_out(flood, {}, room).left
    waiting = {job_id_for(o.number): o.requester for n, o in enumerate(flood) if n not in left}
    assert len(waiting) == min(256, 16 * senders)
    late = share_out([make_offer(99_999, account(10**9))], waiting, room)
    assert bool(late.left) == (senders > 256), "more requesters than places: each has one already"
