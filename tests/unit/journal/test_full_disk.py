"""A journal on a disk without room waits, reads on, and goes on by itself; nothing is written by halves."""

import asyncio
import errno
import os
import sqlite3

import pytest

from node.errors import Fatal
from node.journal import database as module
from node.journal.database import Database, NotWritable


class Disk:
    """Says of each commit whether the disk takes it."""

    def __init__(self, monkeypatch):
        self.full = True
        self.refused = 0
        monkeypatch.setattr(module, "LOOK_AGAIN_S", 0.01)

    def insert(self, connection):
        connection.execute("INSERT INTO marks VALUES ('name', 'value', 0)")
        if self.full:
            self.refused += 1
            # What SQLite does by itself when the file may not grow.
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")
        else:
            connection.execute("PRAGMA max_page_count = 1000000")
        connection.execute("INSERT INTO marks VALUES ('large', ?, 0)", ("x" * 100_000,))


def marks(connection):
    return connection.execute("SELECT name FROM marks").fetchall()


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


async def test_a_write_waits_until_there_is_room_and_is_then_done_once(database, disk):
    told = []
    database.listen(told.append)
    writing = asyncio.create_task(database.run(disk.insert))
    while disk.refused < 3:
        await asyncio.sleep(0.01)
    assert await database.run(marks) == []
    assert "free space and it goes on by itself" in told[0]
    disk.full = False
    await writing
    assert sorted(await database.run(marks)) == [("large",), ("name",)]
    assert told[1:] == [None]


async def test_a_write_that_waits_can_be_given_up(database, disk):
    told = []
    database.listen(told.append)
    writing = asyncio.create_task(database.run(disk.insert))
    while not disk.refused:
        await asyncio.sleep(0.01)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert told[-1] is None


async def test_what_waiting_cannot_mend_is_fatal(database):
    def refuse(connection):
        return connection.execute("SELECT * FROM nowhere").fetchall()

    with pytest.raises(Fatal, match="nowhere"):
        await database.run(refuse)


def test_a_full_disk_does_not_hide_who_holds_the_directory(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "write", full)
    first = Database(tmp_path)
    with pytest.raises(Fatal, match="another sdv-node"):
        Database(tmp_path)
    first.close()


def test_room_is_what_sqlite_says_it_is():
    assert sqlite3.SQLITE_FULL in module.NO_ROOM


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "mount it for writing"),
        (errno.EACCES, "give it to the user that runs this command"),
        (errno.ENOSPC, "free some space"),
        (errno.EMFILE, "see the kernel's log"),
    ],
)
def test_a_directory_that_cannot_be_written_is_told_with_what_to_do(tmp_path, monkeypatch, number, remedy):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), "lock")

    monkeypatch.setattr(module.Path, "open", refuse)
    with pytest.raises(NotWritable, match=f"{tmp_path} cannot be written .*{remedy}.*, or name another with"):
        Database(tmp_path)
