import sqlite3

from node.job.deal import PaymentDirection, PaymentReason
from node.job.effects import Effect, EffectKind
from node.job.events import OfferSeen
from node.job.transition import open_job
from node.journal.database import Database
from node.journal.halts import Halts
from node.journal.ledger import LedgerJournal
from node.journal.records import Commit, CursorRow, Entry, LedgerRow
from node.journal.transactions import TransactionLog
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import POSTED_AT, PROVIDER, TOKEN, make_offer

HASHES = {number: f"0x{number:064x}" for number in range(200)}
CONTROLLER = "0x" + "e5" * 20


def cursor(number: int, head: int = 0) -> CursorRow:
    return CursorRow(number, HASHES[number], head)


def paid(block: int) -> LedgerRow:
    reason, direction = PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT
    return LedgerRow(f"0x{block:064x}", 1, block, "j1-x", PROVIDER, TOKEN, reason, direction, POSTED_AT)


async def test_checkpoints_are_where_the_cursor_rested_newest_first(journal):
    for number in (10, 12, 15):
        await journal.commit(Commit(cursor=cursor(number, number + 3)))
    assert await journal.checkpoints() == [cursor(15, 18), cursor(12, 15), cursor(10, 13)]


async def test_a_rewind_forgets_what_was_read_above_the_block_that_stands(database, journal):
    for number in (10, 12, 15):
        await journal.commit(Commit(cursor=cursor(number, 20), payments=(paid(number),)))
    await journal.commit(Commit(rewind=cursor(12, 20)))
    assert (await journal.recover()).cursor == CursorRow(12, HASHES[12])
    assert [point.block_number for point in await journal.checkpoints()] == [12, 10]
    assert [row.block_number for row in await LedgerJournal(database).payments(0, 99)] == [10, 12]


async def test_a_rewind_opens_the_transactions_that_were_settled_above_it(database, journal):
    log = TransactionLog(database)
    for nonce, block in enumerate((11, 14)):
        intent = f"j{nonce}:propose:1"
        await log.reserve(intent, "agree", CONTROLLER, b"", 0, nonce)
        await log.record_attempt(intent, f"0x{nonce:064x}", b"raw", 100, 1)
        await log.settle(intent, "mined", f"0x{nonce:064x}", block, 21_000, 5, None)
    await journal.commit(Commit(rewind=cursor(12)))
    (row,) = await log.open_rows()
    assert (row.intent_id, row.block_number, row.gas_used, len(row.attempts)) == ("j1:propose:1", None, 0, 1)


async def test_an_order_given_again_is_open_again(journal):
    job, effects = open_job(OfferSeen(make_offer()))
    await journal.commit(Commit(entries=(Entry(job, OfferSeen(make_offer()), effects),)))
    await journal.commit(Commit(done=("j1:evaluate:1",)))
    assert (await journal.recover()).effects == ()
    await journal.commit(Commit(entries=(Entry(job, OfferSeen(make_offer()), effects),)))
    assert (await journal.recover()).effects == (Effect("j1", EffectKind.EVALUATE, 1),)


async def test_the_jobs_that_rest_on_later_blocks_are_found_ended_or_not(journal):
    for number in (1, 2):
        job, effects = open_job(OfferSeen(make_offer(number)))
        await journal.commit(Commit(entries=(Entry(job, OfferSeen(make_offer(number)), effects),)))
    assert [row.job.job_id for row in await journal.jobs_resting_above(9)] == ["j1", "j2"]
    assert await journal.jobs_resting_above(10) == []


async def test_a_halt_stands_until_it_is_cleared_and_final_blocks_bind_no_longer(database, journal):
    halts = Halts(database, FakeClock())
    await journal.commit(Commit(cursor=cursor(10, 100)))
    assert await halts.standing() is None
    await halts.write("block 10 is gone")
    await halts.write("again")
    assert await halts.standing() == "block 10 is gone"
    assert await halts.clear() == 2
    assert await halts.standing() is None
    assert await journal.checkpoints() == [cursor(10, 10)]


def test_a_journal_of_the_first_format_is_brought_forward_with_all_it_holds(tmp_path):
    from node.journal.schema import TABLES, VERSION

    with sqlite3.connect(tmp_path / "journal.sqlite") as old:
        old.executescript(f"{TABLES} PRAGMA user_version = 1;")
        old.execute("INSERT INTO cursors VALUES ('market', 7, '0xabc')")
    old.close()
    database = Database(tmp_path)
    database.close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as new:
        assert new.execute("SELECT block_number FROM cursors").fetchall() == [(7,)]
        assert new.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)
        assert new.execute("PRAGMA user_version").fetchone() == (VERSION,)
    new.close()
