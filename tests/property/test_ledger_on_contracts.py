"""I6 at its root: whatever anybody calls, the ledger's sums are what the contracts did to wallets and escrow.

The calls are those of ``test_market_invariants``; here each one's ``Payment`` events go through the ledger.
"""

from collections import defaultdict
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant

from node.job.deal import PaymentDirection, PaymentReason
from node.journal.ledger_rows import Posting
from node.journal.records import LedgerRow
from node.settlement.ledger import Sums, fold
from node.types import Address, BlockNumber, DealId, JobId, TxHash, Wei
from tests.property.test_market_invariants import ACTORS, MarketMachine, ModelDeal
from tests.unit.contracts.evm import Outcome, Reverted

RUNS = 4
STEPS_OF_ONE_RUN = 20


def postings(outcome: Outcome) -> list[Posting]:
    found = []
    for index, event in enumerate(outcome.events):
        if event.name == "Payment":
            deal_id, payee, amount, reason, direction = event.arguments
            row = LedgerRow(
                TxHash("0x"),
                index,
                BlockNumber(1),
                DealId(deal_id),
                Address(payee.lower()),
                Wei(amount),
                PaymentReason(reason),
                PaymentDirection(direction),
                1,
            )
            found.append(Posting(row, JobId(deal_id), None))
    return found


def sums(actor: bytes, rows: list[Posting]) -> Sums:
    return fold(Address("0x" + actor.hex()), rows, []).total


class LedgerMachine(MarketMachine):
    """Every call's events, folded for every actor."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, list[Posting]] = defaultdict(list)

    def attempt(self, call: Any) -> bool:
        before = {actor: self.market.balance(actor) for actor in ACTORS}
        try:
            outcome = call()
        except Reverted:
            return False
        rows = postings(outcome)
        for actor in ACTORS:
            flowed = sums(actor, rows)
            assert self.market.balance(actor) - before[actor] == flowed.net_wei - flowed.locked_wei
        for posting in rows:
            self.rows[posting.row.deal_id].append(posting)
        return True

    def can_finish_alone(self, deal: ModelDeal, party: bytes) -> None:
        kept = {deal_id: list(rows) for deal_id, rows in self.rows.items()}
        super().can_finish_alone(deal, party)
        self.rows = defaultdict(list, kept)

    def teardown(self) -> None:
        """Whether each party can end each deal alone is the other machine's question."""

    @invariant()
    def what_is_locked_in_the_ledger_is_in_escrow(self) -> None:
        for deal_id in self.model.deals:
            of_all = [sums(actor, self.rows[deal_id]) for actor in ACTORS]
            # No event takes a payment out of its requester's locked collateral: only the provider's names it.
            paid_in = sum(one.locked_wei + one.fees_out_wei for one in of_all)
            held = paid_in - sum(one.earned_wei + one.fees_in_wei for one in of_all)
            assert held == self.market.escrow(deal_id)
            assert all(one.locked_wei >= 0 for one in of_all)


LedgerMachine.TestCase.settings = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS_OF_ONE_RUN,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestLedgerOnContracts = LedgerMachine.TestCase
