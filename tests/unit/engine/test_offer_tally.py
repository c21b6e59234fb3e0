"""The counts of offers: each seen once, proposed and agreed, or declined under the name of a rule."""

from node.engine.offer_tally import OfferTally
from node.job.deal import AgreementState
from node.job.events import Admitted, DealMoved, Declined, HireSeen, JudgeWindowPassed, OfferSeen
from node.job.sifting import Refused
from node.journal.codec import decode_event, encode_event
from node.journal.records import SkippedLog
from tests.fakes.jobs import make_deal, make_job, make_offer


def skipped(kind):
    return SkippedLog(1, "0x" + "0" * 64, 0, 7, "why", kind)


def test_offers_are_counted_by_what_became_of_them():
    tally = OfferTally(since=12.0)
    tally.job_changed(make_job(), OfferSeen(make_offer(1)))
    tally.job_changed(make_job(), Declined("too late", "deadline"))
    hire = make_job(number=2, job_id="h2")
    tally.job_changed(hire, HireSeen(make_offer(2), make_deal(2), 1, 1))
    tally.job_changed(hire, JudgeWindowPassed(3))
    assert hire.hired
    for job in (make_job(number=3), make_job(number=3, salt=2), make_job(number=4), hire):
        tally.job_changed(job, Admitted(make_deal(), 9))
    for state in (AgreementState.DEAL_AGREED, AgreementState.RESULTS_SUBMITTED):
        tally.job_changed(make_job(number=3), DealMoved(state, 1, "0x" + "0" * 64))
    for kind in (Refused.INSOLVENT, Refused.INSOLVENT, None):
        tally.skipped(skipped(kind))
    assert tally.to_json() == {
        "since": 12.0,
        "seen": 4,
        "proposed": 2,
        "agreed": 1,
        "declined": {"insolvent": 2, "deadline": 1},
    }


def test_the_most_frequent_reason_comes_first():
    tally = OfferTally(since=0.0)
    for rule in ("gas", "deadline", "deadline", ""):
        tally.job_changed(make_job(), Declined("no", rule))
    assert list(tally.to_json()["declined"].items()) == [("deadline", 2), ("gas", 1), ("other", 1)]


def test_a_refusal_of_an_earlier_release_is_read_without_its_rule():
    kind, body = encode_event(Declined("no", "gas"))
    assert decode_event(kind, body) == Declined("no", "gas")
    assert decode_event(kind, '{"reason":"no"}') == Declined("no")
