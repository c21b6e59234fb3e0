"""What peers have asked for in vain is kept within bounds."""

from node.publisher.p2p.messages import Want
from node.publisher.p2p.waiting import Waiting, WaitingLimits


def waiting(**limits):
    return Waiting(WaitingLimits(**limits))


def remember(subject, peer, *names, **kind):
    for name in names:
        subject.remember(peer, Want(name.encode(), **kind))


def waits_for(subject, peer, *names):
    taken = subject.take({name.encode() for name in names}).get(peer, ())
    return [want.cid.decode() for want in taken]


def test_all_who_wait_for_a_block_are_named_once():
    subject = waiting()
    remember(subject, "alice", "a", "b")
    remember(subject, "bob", "a")
    assert {peer: len(wants) for peer, wants in subject.take({b"a"}).items()} == {"alice": 1, "bob": 1}
    assert subject.take({b"a"}) == {}
    assert subject.cids() == {b"b"}


def test_asking_whether_it_is_here_does_not_take_back_that_it_is_wanted():
    subject = waiting()
    remember(subject, "alice", "a", have=True)
    remember(subject, "alice", "a")
    remember(subject, "alice", "a", have=True)
    assert [want.have for want in subject.take({b"a"})["alice"]] == [False]


def test_a_flood_drops_the_oldest_of_that_peer_and_nobody_elses():
    subject = waiting(wants_per_peer=3)
    remember(subject, "alice", "a")
    remember(subject, "mallory", *(str(number) for number in range(100)))
    assert len(subject) == 4
    assert subject.dropped == 97
    assert waits_for(subject, "mallory", "97", "98", "99") == ["97", "98", "99"]
    assert waits_for(subject, "alice", "a") == ["a"]


def test_many_peers_share_what_there_is():
    subject = waiting(wants_per_peer=100, wants=200, peers=20)
    for peer in range(30):
        remember(subject, str(peer), *(str(number) for number in range(100)))
    assert len(subject) <= 200
    assert waits_for(subject, "0", "99") == ["99"]
    assert waits_for(subject, "29", "99") == []


def test_a_want_that_is_struck_or_whose_peer_is_gone_is_kept_no_longer():
    subject = waiting()
    remember(subject, "alice", "a", "b")
    remember(subject, "bob", "a")
    subject.strike("alice", b"a")
    subject.strike("carol", b"a")
    subject.forget("bob")
    assert subject.cids() == {b"b"}
    subject.strike("alice", b"b")
    assert len(subject) == 0
