"""A job's history tells in words what happened, and what a result lacked when it had to be reported."""

from node.engine.shown import shown_step
from node.job.copies import Copy
from node.job.deal import AgreementState
from node.job.events import DealMoved, Published
from node.journal.codec import decode_event, encode_event
from node.journal.records import TimelineRow
from node.types import Cid

HERE = Copy("node", stored_at=1.0, read_at=2.0)


def detail(body):
    return shown_step(TimelineRow(1.0, "Published", "SUBMITTING", body))["detail"]


def test_fewer_copies_than_asked_for_are_told_with_the_reason():
    event = Published(Cid("bafy"), (HERE,), "1 of 2 copies")
    kind, body = encode_event(event)
    assert decode_event(kind, body) == event
    assert detail(body) == (
        "bafy, kept by node; read back from node; only 1 of 2 copies, as the deadline was near"
    )


def test_enough_copies_and_what_an_earlier_release_wrote_are_told_as_before():
    _, body = encode_event(Published(Cid("bafy"), (HERE,)))
    earlier = body.replace(',"lacking":null', "")
    assert earlier != body
    assert decode_event("Published", earlier) == Published(Cid("bafy"), (HERE,))
    assert detail(body) == detail(earlier) == "bafy, kept by node; read back from node"


def test_a_deals_states_are_told_in_words_and_the_hash_beside_them():
    for state in AgreementState:
        _, body = encode_event(DealMoved(state, 1, "0x" + "ab" * 32))
        shown = shown_step(TimelineRow(1.0, "DealMoved", "AGREED", body))
        assert shown["detail"]
        assert "0x" not in shown["detail"]
        assert state.name not in shown["detail"]
        assert shown["tx_hash"] == "0x" + "ab" * 32
