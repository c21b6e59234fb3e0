"""The node's own money as it is shown, whatever happens to old and new blocks between two looks."""

from node.engine.statements import DAY_S, Statements
from node.job.deal import PaymentDirection, PaymentReason
from node.job.phase import Phase
from node.journal.journal import Journal
from node.journal.ledger import LedgerJournal
from node.journal.records import Commit, LedgerRow
from node.journal.transactions import TransactionLog
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import CONTROLLER, POSTED_AT, PROVIDER, TOKEN, make_deal, make_job

PAY = (PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT)
LOCK = (PaymentReason.RESULTS_COLLATERAL, PaymentDirection.PAID_IN)
NOW = POSTED_AT + 100 * DAY_S


async def pay(database, block, kind=PAY, *, at=NOW - 1, amount=TOKEN):
    row = LedgerRow("0x" + f"{block:064x}", 0, block, make_deal().deal_id, PROVIDER, amount, *kind, at)
    await Journal(database, FakeClock()).commit(Commit(payments=(row,)))


async def spend(database, intent_id, block, fee):
    log = TransactionLog(database)
    await log.reserve(intent_id, "agree", CONTROLLER, b"", 0, block)
    await log.settle(intent_id, "mined", "0x" + f"{block:064x}", block, 21_000, fee, None)


async def drop(database, condition):
    await database.run(lambda connection: connection.execute(f"DELETE FROM payments WHERE {condition}"))


async def test_what_is_kept_is_what_would_be_read_anew_whatever_changed(database):
    ledger = LedgerJournal(database)
    kept = Statements(ledger, PROVIDER, unsettled_blocks=10)

    async def same() -> dict[str, str]:
        shown = await kept.earnings(NOW, [])
        assert shown == await Statements(ledger, PROVIDER, 10).earnings(NOW, [])
        return shown

    assert (await same())["paid_wei"] == "0"
    for block in (5, 50, 500):
        await pay(database, block)
        await same()
    await spend(database, "approve:1:1", 501, 7)
    assert (await same())["gas_wei"] == "7"
    # Mined long ago, and settled only now: a node that was away.
    await spend(database, "approve:2:2", 20, 5)
    assert (await same())["gas_wei"] == "12"
    # A reorganisation takes the newest block back, and another payment of the same block comes instead.
    await drop(database, "block_number = 500")
    await pay(database, 500, LOCK, amount=3 * TOKEN)
    shown = await same()
    assert (shown["paid_wei"], shown["locked_wei"]) == (str(2 * TOKEN), str(3 * TOKEN))
    await drop(database, "block_number = 5")
    assert (await same())["paid_wei"] == str(TOKEN)
    await pay(database, 900)
    assert (await same())["paid_wei"] == str(2 * TOKEN)


async def test_periods_are_counted_back_from_the_newest_block(database):
    for days, block in ((0.5, 1), (3, 2), (20, 3), (60, 4)):
        await pay(database, block, at=int(NOW - days * DAY_S))
    shown = await Statements(LedgerJournal(database), PROVIDER, 64).earnings(NOW, [])
    assert [int(shown[name]) // TOKEN for name in ("day_wei", "week_wei", "month_wei", "paid_wei")] == [
        1,
        2,
        3,
        4,
    ]
    assert shown["last_paid_at"] == int(NOW - 0.5 * DAY_S)


async def test_what_is_due_is_told_with_what_is_earned(database):
    waiting = make_job(Phase.SUBMITTED, deadline=NOW - 1)
    shown = await Statements(LedgerJournal(database), PROVIDER, 64).earnings(NOW, [waiting])
    assert shown["claimable_wei"] == str(3 * TOKEN)
    assert shown["last_paid_at"] is None


async def test_nothing_is_due_for_a_silence_that_the_market_does_not_pay(database):
    waiting = make_job(Phase.SUBMITTED, deadline=NOW - 1)
    statements = Statements(LedgerJournal(database), PROVIDER, 64, silence_has_remedy=False)
    assert (await statements.earnings(NOW, [waiting]))["claimable_wei"] == "0"
    assert (await statements.of_job(waiting))["claim"] is None


async def test_without_an_account_no_sum_is_guessed(database):
    await pay(database, 1)
    nobody = Statements(LedgerJournal(database), None, 64)
    assert (await nobody.earnings(NOW, []))["paid_wei"] == "0"
    assert (await nobody.of_job(make_job(Phase.PAID)))["earned_wei"] == "0"
