"""What the journal tells the ledger: payments and gas with their jobs, and how accounts dealt with us."""

import sqlite3
from dataclasses import replace

import pytest

from node.job.deal import AgreementState, PaymentDirection, PaymentReason
from node.job.events import Admitted, DealMoved, EscrowDrained, OfferSeen, ProposalMined
from node.job.phase import Phase
from node.job.transition import open_job, transition
from node.journal import schema
from node.journal.database import Database
from node.journal.journal import Journal
from node.journal.ledger import LedgerJournal
from node.journal.ledger_rows import JobFilter, PaymentRecord
from node.journal.records import Commit, CursorRow, Entry, LedgerRow
from node.journal.transactions import TransactionLog
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import CONTROLLER, MEDIATOR, POSTED_AT, PROVIDER, REQUESTER, make_deal, make_offer

TX = "0x" + "77" * 32
OTHER_TX = "0x" + "78" * 32


@pytest.fixture
def ledger(database):
    return LedgerJournal(database)


async def remember(database, number, *events, requester=REQUESTER, phase=None):
    first = OfferSeen(make_offer(number, requester))
    job, effects = open_job(first)
    entries = [Entry(job, first, effects)]
    for event in events:
        job, effects = transition(job, event)
        entries.append(Entry(job, event, effects))
    if phase is not None:
        entries.append(Entry(job.to(phase), events[-1] if events else first))
    await Journal(database, FakeClock(POSTED_AT + number)).commit(Commit(entries=tuple(entries)))


def agreed(number, requester=REQUESTER):
    return (
        Admitted(make_deal(number, requester=requester), POSTED_AT + 600),
        ProposalMined(POSTED_AT + 2),
        DealMoved(AgreementState.DEAL_AGREED, POSTED_AT + 4, TX),
    )


def paid(number, tx_hash=TX, *, at=POSTED_AT, payee=PROVIDER, block=12):
    kind = (PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT)
    return LedgerRow(tx_hash, 3, block, make_deal(number).deal_id, payee, 10**20 + 1, *kind, at)


async def spend(database, intent_id, *, status="mined", tx_hash=OTHER_TX, fee=10**19):
    log = TransactionLog(database)
    nonce = len(await log.settled_rows())
    await log.reserve(intent_id, "agree", CONTROLLER, b"", 0, nonce)
    await log.settle(intent_id, status, tx_hash, 12, 21_000, fee, None)


async def test_a_payment_comes_with_its_job_and_requester_and_every_digit(database, ledger):
    await remember(database, 1, *agreed(1))
    await Journal(database, FakeClock()).commit(Commit(payments=(paid(1),)))
    (posting,) = await ledger.postings(payee=PROVIDER)
    assert (posting.row, posting.job_id, posting.counterparty) == (paid(1), "j1", REQUESTER)
    assert await ledger.postings(payee=REQUESTER) == []
    assert await ledger.postings(job_id="j2") == []


async def test_a_payment_of_a_deal_without_a_job_is_kept(database, ledger):
    await Journal(database, FakeClock()).commit(Commit(payments=(paid(9),)))
    (posting,) = await ledger.postings()
    assert (posting.job_id, posting.counterparty) == (None, None)


async def test_gas_belongs_to_the_job_in_front_of_the_intent_and_to_no_other(database, ledger):
    await remember(database, 1, *agreed(1))
    await remember(database, 11, requester=MEDIATOR)
    await Journal(database, FakeClock()).commit(Commit(payments=(paid(1, at=POSTED_AT + 50),)))
    await spend(database, "j1:propose:1", tx_hash=TX)
    await spend(database, "j11:propose:1~2", status="reverted")
    await spend(database, "approve:100:7")
    await spend(database, "j1:withdraw:1", status="refused", fee=0)
    rows = {row.intent_id: row for row in await ledger.gas()}
    assert set(rows) == {"j1:propose:1", "j11:propose:1~2", "approve:100:7"}
    assert (rows["j1:propose:1"].job_id, rows["j1:propose:1"].counterparty) == ("j1", REQUESTER)
    assert rows["j1:propose:1"].at == POSTED_AT + 50
    assert rows["j11:propose:1~2"].job_id == "j11"
    assert rows["j11:propose:1~2"].reverted
    assert rows["j11:propose:1~2"].at > POSTED_AT
    assert rows["approve:100:7"].job_id is None
    assert [row.intent_id for row in await ledger.gas_of(["j1"])] == ["j1:propose:1"]
    assert await ledger.gas_of([]) == []


async def test_jobs_are_found_by_phase_requester_and_time(database, ledger):
    await remember(database, 1, *agreed(1))
    await remember(database, 2, *agreed(2, MEDIATOR), requester=MEDIATOR)
    await remember(database, 3, requester=MEDIATOR)

    async def numbers(chosen, **more):
        return [row.job.offer.number for row in await ledger.jobs(chosen, 10, **more)]

    assert await numbers(JobFilter()) == [3, 2, 1]
    assert await numbers(JobFilter(phase="AGREED")) == [2, 1]
    assert await numbers(JobFilter(requester=MEDIATOR)) == [3, 2]
    assert await numbers(JobFilter(since=POSTED_AT + 2)) == [3, 2]
    assert await numbers(JobFilter(phase="AGREED", requester=MEDIATOR), before=(3, "j3")) == [2]


async def test_no_job_is_lost_between_two_pages_where_one_number_has_two_jobs(database, ledger):
    for number in (1, 2):
        await remember(database, number)
    hire = open_job(OfferSeen(make_offer(2)))[0]
    hire = replace(hire, job_id="h2")
    await Journal(database, FakeClock()).commit(Commit(entries=(Entry(hire, OfferSeen(make_offer(2))),)))
    found, before = [], None
    while page := await ledger.jobs(JobFilter(), 1, before):
        (row,) = page
        found.append(row.job.job_id)
        before = (row.job.offer.number, row.job.job_id)
    assert found == ["j2", "h2", "j1"]


async def test_the_record_of_an_account_counts_how_its_deals_ended(database, ledger):
    await remember(database, 1, *agreed(1), phase=Phase.PAID)
    await remember(database, 2, *agreed(2), phase=Phase.UNPAID)
    await remember(database, 3, *agreed(3), phase=Phase.FAILED)
    await remember(database, 4, *agreed(4), EscrowDrained("gone"), phase=Phase.FAILED)
    await remember(database, 5, *agreed(5)[:2], phase=Phase.LAPSED)
    await remember(database, 6, *agreed(6))
    await remember(database, 7, phase=Phase.REFUSED)
    record = await ledger.record_of(REQUESTER)
    assert record == PaymentRecord(deals=5, paid=1, unpaid=1, drained=1, failed=1, lapsed=1, open=1)
    assert record.bad == 2
    assert await ledger.records() == {REQUESTER: record}
    assert await ledger.record_of(MEDIATOR) == PaymentRecord()


async def test_the_blocks_to_compare_run_from_the_first_deal_to_the_cursor(database, ledger):
    assert await ledger.read_blocks() is None
    await remember(database, 1, *agreed(1))
    await Journal(database, FakeClock()).commit(
        Commit(cursor=CursorRow(40, TX, 42), payments=(paid(1, block=11),))
    )
    assert await ledger.read_blocks() == (make_offer(1).block_number, 40)
    assert await ledger.payments(11, 40) == [paid(1, block=11)]
    assert await ledger.payments(12, 40) == []
    assert await ledger.deals() == {make_deal(1).deal_id: "j1"}


def test_a_journal_of_the_first_version_gets_times_for_its_transactions(tmp_path):
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    connection.executescript(
        f"{schema.TABLES} PRAGMA user_version = 1;"
        "INSERT INTO events VALUES (1, 'j1', 1700.5, 'OfferSeen', '{}', 'SEEN');"
        "INSERT INTO transactions VALUES "
        "('j1:propose:1', 'agree', '0x', x'', '0', 0, 'mined', '0x11', 12, 21000, '5', NULL),"
        "('approve:1:1', 'approve', '0x', x'', '0', 1, 'mined', '0x12', 13, 21000, '7', NULL);"
    )
    connection.close()
    Database(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    found = dict(connection.execute("SELECT intent_id, settled_at FROM transactions"))
    connection.close()
    assert found == {"j1:propose:1": 1700.5, "approve:1:1": None}


def test_the_requesters_of_jobs_are_looked_up_by_index(tmp_path):
    opened = Database(tmp_path)
    opened.close()
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    plan = connection.execute(
        "EXPLAIN QUERY PLAN SELECT 1 FROM jobs WHERE json_extract(body, '$.offer.requester') = 'x'"
    ).fetchall()
    connection.close()
    assert "jobs_of_requester" in plan[0][3]
