from dataclasses import replace

from node.engine.book import RECENT, Book
from node.job.phase import Phase
from tests.fakes.jobs import REQUESTER, TOKEN, make_deal, make_job


def test_open_jobs_are_counted_by_what_they_bind():
    book = Book()
    for number, phase in enumerate(
        [Phase.SEEN, Phase.PROPOSED, Phase.RENDERING, Phase.SUBMITTED, Phase.PAID], start=1
    ):
        book.put(make_job(phase, number), now=1.0)
    assert book.open_deals() == 3, "seen costs nothing yet, paid is over"
    assert book.proposals_to(REQUESTER) == 1
    assert book.jobs_ahead() == 1, "a proposal is not yet work"
    assert book.counts() == {"SEEN": 1, "PROPOSED": 1, "RENDERING": 1, "SUBMITTED": 1, "PAID": 1}


def test_what_may_still_leave_the_wallet_is_the_results_collateral_until_it_has_left():
    book = Book()
    book.put(make_job(Phase.RENDERING, 1, deal=make_deal(1, price_wei=3 * TOKEN)), now=1.0)
    assert book.committed_wei() == 3 * TOKEN
    book.put(make_job(Phase.SUBMITTED, 1, deal=make_deal(1, price_wei=3 * TOKEN)), now=2.0)
    assert book.committed_wei() == 0
    book.put(make_job(Phase.PROPOSING, 2), now=3.0)
    assert book.committed_wei() == TOKEN, "the larger of both collaterals"


def test_a_job_that_moves_is_counted_once_and_keeps_when_it_was_seen():
    book = Book()
    book.put(make_job(Phase.SEEN), now=1.0)
    book.put(make_job(Phase.PAID), now=9.0)
    row = book.row("j1")
    assert (row.seen_at, row.updated_at) == (1.0, 9.0)
    assert book.counts() == {"PAID": 1}
    assert book.open_jobs() == []


def test_a_deal_is_known_as_long_as_the_node_lives_also_after_its_job_ended():
    book = Book()
    book.put(make_job(Phase.PROPOSING), now=1.0)
    book.put(make_job(Phase.PAID), now=2.0)
    assert book.known_deal(make_deal().deal_id) == "j1"
    assert book.known_deal("j1-somebody-elses") is None


def test_ended_jobs_do_not_fill_the_memory():
    book = Book()
    for number in range(1, RECENT + 51):
        book.put(make_job(Phase.REFUSED, number), now=1.0)
    assert book.get("j1") is None
    assert book.get(f"j{RECENT + 50}") is not None
    assert book.counts() == {"REFUSED": RECENT + 50}


def test_offers_without_a_verdict_are_named_in_the_order_they_came():
    book = Book()
    for number, phase in enumerate([Phase.SEEN, Phase.RENDERING, Phase.SEEN, Phase.REFUSED], start=1):
        book.put(make_job(phase, number), now=1.0)
    assert list(book.waiting().items()) == [("j1", REQUESTER), ("j3", REQUESTER)]


def test_a_promise_weighs_until_the_job_moves_and_only_while_it_is_open():
    book = Book()
    book.put(make_job(Phase.SEEN), now=1.0)
    book.promise(make_job(Phase.PROPOSING, deal=make_deal(price_wei=3 * TOKEN)))
    assert (book.committed_wei(), book.open_deals(), book.proposals_to(REQUESTER)) == (3 * TOKEN, 1, 1)
    assert book.waiting() == {}
    assert book.get("j1").phase is Phase.SEEN, "it is not journaled yet"
    book.put(make_job(Phase.REFUSED), now=2.0)
    book.promise(make_job(Phase.PROPOSING))
    assert (book.committed_wei(), book.open_deals()) == (0, 0)


def test_the_deal_of_a_refused_proposal_is_free_for_a_hire_and_no_other_deal_is():
    book = Book()
    deal_id = make_deal(1).deal_id
    assert book.holder(deal_id) is None
    for phase in (Phase.PROPOSING, Phase.PROPOSED, Phase.LAPSED):
        book.put(make_job(phase, 1), now=1.0)
        assert book.holder(deal_id) == "j1"
    book.put(make_job(Phase.REFUSED, 1, deal=make_deal(1)), now=2.0)
    assert book.holder(deal_id) is None
    hire = replace(make_job(Phase.SEEN, 1, deal=make_deal(1)), job_id="h1")
    book.put(hire, now=3.0)
    assert book.holder(deal_id) == book.known_deal(deal_id) == "h1"
    book.put(hire.to(Phase.REFUSED), now=4.0)
    assert book.holder(deal_id) == "h1", "a hire that was refused is not hired again"


def test_a_deal_id_that_somebody_took_leads_to_no_job_of_ours():
    book = Book()
    taken, next_one = make_deal(1), make_deal(1, price_wei=2)
    book.put(make_job(Phase.PROPOSING, 1, deal=taken), now=1.0)
    book.put(make_job(Phase.PROPOSING, 1, deal=taken).to(Phase.SEEN, deal=None, salt=2), now=2.0)
    assert book.known_deal(taken.deal_id) is None
    book.put(make_job(Phase.PROPOSING, 1, deal=next_one), now=3.0)
    assert (book.known_deal(taken.deal_id), book.known_deal(next_one.deal_id)) == (None, "j1")
