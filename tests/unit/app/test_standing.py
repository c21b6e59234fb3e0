"""How the node tells how its work stands: the tightest deal, what waits, nothing where nothing is owed."""

from dataclasses import dataclass

from node.app.standing import Standing
from node.engine.book import Book
from node.job.phase import Phase
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import make_job


@dataclass
class Line:
    """Stands in for transactions, endpoints and forecast, with what they would say."""

    split: str | None = None
    oldest: float | None = None
    left_s: float = 0.0

    def pending(self) -> dict[str, str]:
        return {} if self.oldest is None else {"j1:submit": "addResult"}

    def oldest_s(self) -> float | None:
        return self.oldest

    def of(self, job) -> dict[str, float] | None:
        return {"left_s": self.left_s} if job.phase is Phase.AGREED else None


def test_a_node_that_owes_nothing_has_neither_deadline_nor_slack():
    clock, book = FakeClock(1000), Book()
    book.put(make_job(Phase.SUBMITTED, 1, deadline=1100), 1000)
    told = Standing(book, Line(), Line(), Line(), journal_problem=lambda: None, clock=clock).told()
    assert told == {
        "journal_waits": False,
        "rpc_disagreement": False,
        "open_transactions": 0,
        "oldest_transaction_s": None,
        "deadline": None,
        "slack_s": None,
        "oldest_publishing_s": None,
    }


def test_the_tightest_deal_is_the_one_with_the_least_time_after_its_rendering():
    clock, book = FakeClock(1000), Book()
    book.put(make_job(Phase.AGREED, 1, deadline=1500), 900)
    book.put(make_job(Phase.PUBLISHING, 2, deadline=1400), 950)
    line = Line("they disagree", 12.5, 300)
    told = Standing(book, line, line, line, journal_problem=lambda: "the disk is full", clock=clock).told()
    assert told == {
        "journal_waits": True,
        "rpc_disagreement": True,
        "open_transactions": 1,
        "oldest_transaction_s": 12.5,
        "deadline": 1400,
        "slack_s": 200,
        "oldest_publishing_s": 50,
    }
