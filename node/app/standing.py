"""How the node's work stands: what an operator must hear of before it costs money, for status and metrics."""

from collections.abc import Callable
from typing import Any

from node.chain.endpoints import EndpointPool
from node.chain.txmanager import TxManager
from node.clock import Clock
from node.engine.book import Book
from node.engine.forecast import Forecast
from node.job.phase import WORKING, Phase

OWED = WORKING | {Phase.SUBMITTING, Phase.FAILING}
"""Agreed, and neither a result nor a failure is on chain."""


class Standing:
    """Asked each time the status is told, so it costs a look at the open jobs and nothing else."""

    def __init__(
        self,
        book: Book,
        forecast: Forecast,
        transactions: TxManager,
        endpoints: EndpointPool,
        *,
        journal_problem: Callable[[], str | None],
        clock: Clock,
    ) -> None:
        self._book = book
        self._forecast = forecast
        self._transactions = transactions
        self._endpoints = endpoints
        self._journal_problem = journal_problem
        self._clock = clock

    def told(self) -> dict[str, Any]:
        """Return it as plain values.

        ``deadline`` is the earliest of a deal without a result on chain, by block time, and ``slack_s`` what
        the tightest one has left after its expected rendering; both None while nothing is owed.
        """
        now = self._clock.now()
        owed = [
            (job.deadline, self._forecast.of(job))
            for job in self._book.open_jobs()
            if job.phase in OWED and job.deadline is not None
        ]
        slack = [deadline - now - (expected["left_s"] if expected else 0) for deadline, expected in owed]
        publishing = [
            now - row.updated_at for row in self._book.recent() if row.job.phase is Phase.PUBLISHING
        ]
        return {
            "journal_waits": self._journal_problem() is not None,
            "rpc_disagreement": self._endpoints.split is not None,
            "open_transactions": len(self._transactions.pending()),
            "oldest_transaction_s": self._transactions.oldest_s(),
            "deadline": min((deadline for deadline, _ in owed), default=None),
            "slack_s": min((round(left, 1) for left in slack), default=None),
            "oldest_publishing_s": max((round(age, 1) for age in publishing), default=None),
        }
