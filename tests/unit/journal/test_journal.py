import sqlite3

import pytest

from node.errors import Fatal
from node.job.deal import AgreementState, PaymentDirection, PaymentReason
from node.job.effects import Effect, EffectKind
from node.job.events import Admitted, DealMoved, HireSeen, OfferSeen, ProposalMined, ProposalRefused
from node.job.phase import Phase
from node.job.transition import open_job, transition
from node.journal.database import Database
from node.journal.journal import SKIPPED_KEPT
from node.journal.ledger import LedgerJournal
from node.journal.marks import OFFER_WITHDRAWN, Marks
from node.journal.records import Commit, CursorRow, Entry, LedgerRow, SkippedLog
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import POSTED_AT, PROVIDER, TOKEN, make_deal, make_offer

TX = "0x" + "77" * 32
CURSOR = CursorRow(12, "0x" + "ab" * 32)


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


async def test_of_logs_not_worth_a_job_only_the_newest_are_kept(journal, database):
    def logs(first, count):
        return tuple(SkippedLog(block, TX, block, block, "spam") for block in range(first, first + count))

    await journal.commit(Commit(skipped=logs(1, 600)))
    await journal.commit(Commit(skipped=logs(601, SKIPPED_KEPT)))
    await journal.commit(Commit(skipped=logs(10_000, 50)[::-1]))
    kept = await journal.skipped(2 * SKIPPED_KEPT)
    assert len(kept) == SKIPPED_KEPT
    assert [log.block_number for log in kept[:50]] == list(range(10_049, 9_999, -1))
    assert kept[-1].block_number == 600 + 50 + 1
    (rows,) = await database.run(lambda c: c.execute("SELECT count(*) FROM skipped").fetchone())
    assert rows == SKIPPED_KEPT


async def test_a_payment_log_read_twice_counts_once(journal, database):
    paid = (PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT)
    row = LedgerRow(TX, 3, 12, make_deal().deal_id, PROVIDER, TOKEN, *paid, 50)
    await journal.commit(Commit(payments=(row,)))
    await journal.commit(Commit(payments=(row,)))
    assert [posting.row for posting in await LedgerJournal(database).postings()] == [row]


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


async def test_after_a_restart_a_deal_belongs_to_the_hire_and_not_to_the_proposal_that_was_refused(journal):
    proposal, first = open_job(OfferSeen(make_offer()))
    entries = [Entry(proposal, OfferSeen(make_offer()), first)]
    for event in (Admitted(make_deal(), POSTED_AT + 600), ProposalRefused("too old")):
        proposal, effects = transition(proposal, event)
        entries.append(Entry(proposal, event, effects))
    seen = HireSeen(make_offer(), make_deal(), POSTED_AT + 5, 9)
    hire, ordered = open_job(seen)
    await journal.commit(Commit(entries=(*entries, Entry(hire, seen, ordered))))
    found = await journal.recover()
    assert found.deals == {make_deal().deal_id: "h1"}
    assert [row.job.job_id for row in found.jobs] == ["h1"]


async def test_a_job_that_was_passed_over_is_found_by_its_number(journal):
    log = SkippedLog(12, TX, 3, 17, "posted 700 s ago")
    await journal.commit(Commit(skipped=(log, SkippedLog(12, TX, 4, 18, "forged"))))
    assert await journal.skipped_job(17) == log
    assert await journal.skipped_job(19) is None


async def test_a_mark_outlives_a_restart_until_it_is_cleared(tmp_path):
    first = Database(tmp_path)
    marks = Marks(first, FakeClock())
    assert await marks.get(OFFER_WITHDRAWN) is None
    await marks.put(OFFER_WITHDRAWN, "once")
    await marks.put(OFFER_WITHDRAWN, "by the operator")
    first.close()
    second = Database(tmp_path)
    try:
        marks = Marks(second, FakeClock())
        assert await marks.get(OFFER_WITHDRAWN) == "by the operator"
        await marks.clear(OFFER_WITHDRAWN)
        assert await marks.get(OFFER_WITHDRAWN) is None
    finally:
        second.close()
