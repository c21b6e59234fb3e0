"""Gas of unanswered proposals is counted for an hour, also across a restart."""

from node.admission.bids import GAS_PER_BID, BidGas
from node.journal.ledger_rows import GasRow
from tests.fakes.clock import FakeClock


def row(intent_id: str, gas_used: int, at: float) -> GasRow:
    return GasRow(intent_id, "", None, None, "0x" + "11" * 32, 5, False, gas_used, 1, at)


def test_a_bid_that_was_taken_back_costs_both_of_its_transactions():
    bids = BidGas(FakeClock())
    bids.settled("j1:propose:1", 470_000)
    bids.settled("j2:propose:1", 470_000)
    bids.settled("j2:submit_result:1", 200_000)
    assert bids.last_hour() == 0
    bids.settled("j1:withdraw:1", 90_000)
    assert bids.last_hour() == 560_000


def test_after_an_hour_it_is_forgotten():
    clock = FakeClock()
    bids = BidGas(clock)
    bids.settled("j1:propose:1", 470_000)
    bids.settled("j1:withdraw:1", 90_000)
    clock.time += 3601
    assert bids.last_hour() == 0


def test_what_a_node_before_this_one_spent_counts():
    clock = FakeClock()
    bids = BidGas(clock)
    bids.restore(
        [
            row("j1:propose:1", 470_000, clock.time - 4000),
            row("j1:withdraw:1", 90_000, clock.time - 3000),
            row("j2:withdraw:1", 90_000, clock.time - 10),
        ]
    )
    assert bids.last_hour() == 560_000 + 90_000 + GAS_PER_BID
