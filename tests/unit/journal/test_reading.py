"""A journal in use can be read beside the node that writes it, and never written."""

import sqlite3

import pytest

from node.errors import Fatal
from node.job.events import OfferSeen
from node.job.transition import open_job
from node.journal.database import Database
from node.journal.journal import Journal
from node.journal.ledger import LedgerJournal
from node.journal.reading import ReadOnlyDatabase
from node.journal.records import Commit, Entry
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import make_offer


async def see(database, number):
    event = OfferSeen(make_offer(number))
    job, effects = open_job(event)
    await Journal(database, FakeClock()).commit(Commit(entries=(Entry(job, event, effects),)))


async def test_each_read_sees_the_last_commit(database, tmp_path):
    reader = ReadOnlyDatabase(tmp_path)
    for number in (1, 2):
        await see(database, number)
        assert len(await LedgerJournal(reader).open_jobs()) == number
    reader.close()


async def test_nothing_can_be_written(database, tmp_path):
    reader = ReadOnlyDatabase(tmp_path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await reader.run(lambda connection: connection.execute("DELETE FROM jobs"))
    reader.close()


def test_a_journal_of_another_version_is_refused_with_words(tmp_path):
    Database(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(Fatal, match="format 1"):
        ReadOnlyDatabase(tmp_path)


def test_a_file_that_is_no_database_is_refused_with_words(tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(Fatal, match="cannot be read"):
        ReadOnlyDatabase(tmp_path)
