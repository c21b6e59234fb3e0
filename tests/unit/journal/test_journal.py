import sqlite3

import pytest

from node.errors import Fatal
from node.job.deal import AgreementState, PaymentDirection, PaymentReason
from node.job.effects import Effect, EffectKind
from node.job.events import Admitted, DealMoved, OfferSeen, ProposalMined
from node.job.phase import Phase
from node.job.transition import open_job, transition
from node.journal.database import Database
from node.journal.journal import Journal
from node.journal.records import Commit, CursorRow, Entry, LedgerRow, SkippedLog
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import POSTED_AT, PROVIDER, TOKEN, make_deal, make_offer

TX = "0x" + "77" * 32
CURSOR = CursorRow(12, "0x" + "ab" * 32)


@pytest.fixture
def database(tmp_path):
    opened = Database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def journal(database):
    return Journal(database, FakeClock())


def agreed_job():
    job, first = open_job(OfferSeen(make_offer()))
    entries = [Entry(job, OfferSeen(make_offer()), first)]
    for event in (
        Admitted(make_deal(), POSTED_AT + 600),
        ProposalMined(POSTED_AT + 2),
        DealMoved(AgreementState.DEAL_AGREED, POSTED_AT + 4, TX),
    ):
        job, effects = transition(job, event)
        entries.append(Entry(job, event, effects))
    return job, entries


async def test_a_commit_is_found_again_with_its_cursor_and_its_open_orders(journal):
    job, entries = agreed_job()
    done = ("j1:evaluate:1", "j1:propose:1")
    await journal.commit(Commit(entries=tuple(entries), cursor=CURSOR, done=done))
    found = await journal.recover()
    assert [row.job for row in found.jobs] == [job]
    assert found.effects == (Effect("j1", EffectKind.RENDER, 1),)
    assert found.cursor == CURSOR
    assert found.deals == {make_deal().deal_id: "j1"}


async def test_the_history_alone_gives_the_stored_job(journal):
    job, entries = agreed_job()
    await journal.commit(Commit(entries=tuple(entries)))
    assert await journal.replayed("j1") == job
    assert [step.event for step in await journal.timeline("j1")] == [
        "OfferSeen",
        "Admitted",
        "ProposalMined",
        "DealMoved",
    ]


async def test_a_commit_that_fails_leaves_nothing_behind(journal, database):
    _, entries = agreed_job()
    broken = Commit(entries=tuple(entries), skipped=(SkippedLog(object(), TX, 0, 1, "bad"),))
    with pytest.raises(sqlite3.Error):
        await journal.commit(broken)
    assert (await journal.recover()).jobs == ()
    assert await database.run(lambda c: c.execute("SELECT count(*) FROM events").fetchone()) == (0,)


async def test_a_payment_log_read_twice_counts_once(journal):
    paid = (PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT)
    row = LedgerRow(TX, 3, 12, make_deal().deal_id, PROVIDER, TOKEN, *paid, 50)
    await journal.commit(Commit(payments=(row,)))
    await journal.commit(Commit(payments=(row,)))
    assert await journal.earned_wei(PROVIDER) == TOKEN
    assert await journal.earned_wei(PROVIDER, since=51) == 0


async def test_ended_jobs_are_listed_newest_first_and_paged(journal):
    for number in range(1, 6):
        job, effects = open_job(OfferSeen(make_offer(number)))
        refused = job.to(Phase.REFUSED, reason="no")
        await journal.commit(Commit(entries=(Entry(refused, OfferSeen(make_offer(number)), effects),)))
    assert [row.job.job_id for row in await journal.jobs(2)] == ["j5", "j4"]
    assert [row.job.job_id for row in await journal.jobs(2, before=4)] == ["j3", "j2"]
    assert await journal.counts() == {"REFUSED": 5}


def test_a_second_process_on_the_same_directory_is_refused_by_name(tmp_path):
    first = Database(tmp_path)
    with pytest.raises(Fatal, match="another sdv-node"):
        Database(tmp_path)
    first.close()
    Database(tmp_path).close()


def test_a_journal_of_a_newer_version_is_refused_with_words(tmp_path):
    Database(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Fatal, match="newer sdv-node"):
        Database(tmp_path)


def test_a_file_that_is_no_database_is_refused_with_words(tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(Fatal, match="cannot be opened"):
        Database(tmp_path)
