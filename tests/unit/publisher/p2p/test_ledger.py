"""Who is owed which answers."""

from node.publisher.p2p.ledger import Ledger, LedgerLimits
from node.publisher.p2p.messages import Want


def wants(*names, **kind):
    return tuple(Want(name.encode(), **kind) for name in names)


def taken(ledger, peer, count=100):
    return [want.cid.decode() for want in ledger.next_batch(peer, count)]


def test_answers_come_in_the_order_of_asking():
    ledger = Ledger()
    assert ledger.receive("alice", wants("a", "b", "c"))
    assert taken(ledger, "alice", 2) == ["a", "b"]
    for want in ledger.next_batch("alice", 2):
        assert ledger.answered("alice", want)
    assert taken(ledger, "alice") == ["c"]


def test_a_want_stays_until_it_is_answered():
    ledger = Ledger()
    ledger.receive("alice", wants("a"))
    assert taken(ledger, "alice") == taken(ledger, "alice") == ["a"]


def test_a_cancelled_want_is_not_answered_any_more():
    ledger = Ledger()
    ledger.receive("alice", wants("a", "b"))
    first = ledger.next_batch("alice", 1)[0]
    ledger.receive("alice", wants("a", cancel=True))
    assert not ledger.answered("alice", first)
    assert taken(ledger, "alice") == ["b"]
    assert not ledger.receive("alice", wants("b", cancel=True))
    assert ledger.peers == 0


def test_a_full_list_replaces_what_was_asked_before():
    ledger = Ledger()
    ledger.receive("alice", wants("a", "b"))
    ledger.receive("alice", wants("c"), full=True)
    assert taken(ledger, "alice") == ["c"]


def test_asking_for_the_block_goes_before_asking_whether_it_is_there():
    ledger = Ledger()
    ledger.receive("alice", wants("a", have=True))
    ledger.receive("alice", wants("a"))
    ledger.receive("alice", wants("a", have=True))
    assert [want.have for want in ledger.next_batch("alice", 10)] == [False]


def test_one_peers_flood_is_cut_and_leaves_the_others_alone():
    ledger = Ledger(LedgerLimits(wants_per_peer=10, wants=100, peers=5))
    ledger.receive("mallory", wants(*(str(number) for number in range(1000))))
    ledger.receive("alice", wants("a"))
    assert ledger.wants == 11
    assert ledger.dropped == 990
    assert taken(ledger, "alice") == ["a"]


def test_many_peers_together_stay_near_the_bound():
    ledger = Ledger(LedgerLimits(wants_per_peer=100, wants=200, peers=20))
    for peer in range(30):
        ledger.receive(str(peer), wants(*(str(number) for number in range(100))))
    assert ledger.peers == 20
    assert ledger.wants <= 4 * 200


def test_a_cancel_from_somebody_unknown_leaves_nothing_behind():
    ledger = Ledger()
    assert not ledger.receive("alice", wants("a", cancel=True))
    assert ledger.peers == 0


def test_a_peer_that_is_gone_is_owed_nothing():
    ledger = Ledger()
    ledger.receive("alice", wants("a"))
    ledger.forget("alice")
    assert ledger.wants == 0
    assert ledger.next_batch("alice", 10) == []
