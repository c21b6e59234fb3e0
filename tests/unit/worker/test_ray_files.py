"""Files of a job that come from another host: names, sizes and hashes are checked before one is here."""

import hashlib
import os

import pytest

from node.worker.ray_files import CHUNK_BYTES, BadFile, FileChanged, FileInfo, Inbox, Outbox, described

HASH = "0" * 64


def info(path, content):
    return FileInfo(path, len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../work/a",
        "work/../../a",
        "work",
        "work/",
        "work//a",
        "work/.a",
        "work/a\0b",
        "work/a b",
        "elsewhere/a",
        "work/1/2/3/4/5/6/7",
        "work/" + "a" * 101,
    ],
)
def test_a_name_that_is_no_jobs_file_is_refused(path):
    with pytest.raises(BadFile, match="no name of a job's file"):
        described([(path, 1, HASH)])


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [("work/a", 1)],
        [("work/a", "1", HASH)],
        [("work/a", 1, "0" * 63)],
        [("work/a", -1, HASH)],
        [("work/a", 2**31 + 1, HASH)],
        [("work/a", 1, HASH)] * 2,
        [(f"work/{number}", 2**31, HASH) for number in range(5)],
        [(f"work/{number}", 1, HASH) for number in range(2001)],
    ],
)
def test_a_list_that_is_none_or_too_much_is_refused(entries):
    with pytest.raises(BadFile):
        described(entries)


@pytest.mark.parametrize("chunks", [[b"other"], [b"whol"], [b"whole", b"!"], [b"who", "le"], []])
def test_bytes_that_were_not_described_leave_no_file(tmp_path, chunks):
    with pytest.raises(BadFile):
        Inbox(tmp_path).write(info("work/a", b"whole"), iter(chunks))
    assert list((tmp_path / "work").iterdir()) == []


def test_a_file_is_there_when_all_its_chunks_have_come(tmp_path):
    inbox, content = Inbox(tmp_path), b"whole"
    file = info("work/folder/a", content)
    assert inbox.lacks(file)
    inbox.write(file, iter([b"who", b"le"]))
    assert (tmp_path / "work" / "folder" / "a").read_bytes() == content
    assert not inbox.lacks(file)


def test_a_result_is_made_of_the_stages_that_are_here_and_does_not_appear_by_itself(tmp_path):
    inbox = Inbox(tmp_path)
    inbox.write(info("work/outputs/a.png", b"picture"), iter([b"picture"]))
    assert not inbox.lacks(info("result/outputs/a.png", b"picture"))
    assert (tmp_path / "result.partial" / "outputs" / "a.png").read_bytes() == b"picture"
    assert not (tmp_path / "result").exists()


def test_files_are_told_in_the_order_they_were_finished_and_unfinished_ones_and_links_not_at_all(tmp_path):
    work = tmp_path / "work"
    (work / "z").mkdir(parents=True)
    for age, name in enumerate(["a.json", "z/b", "c"]):
        (work / name).write_bytes(name.encode())
        os.utime(work / name, ns=(0, 10**9 * (9 - age)))
    (work / ".d.partial").touch()
    (work / "link").symlink_to("/etc/passwd")
    assert Outbox(tmp_path).files() == [
        info("work/c", b"c"),
        info("work/z/b", b"z/b"),
        info("work/a.json", b"a.json"),
    ]


def test_a_file_comes_in_bounded_chunks_and_not_after_it_has_changed(tmp_path):
    path = tmp_path / "work" / "a"
    path.parent.mkdir()
    path.write_bytes(bytes(CHUNK_BYTES + 1))
    outbox = Outbox(tmp_path)
    (file,) = outbox.files()
    assert [len(outbox.chunk(file, offset)) for offset in (0, CHUNK_BYTES)] == [CHUNK_BYTES, 1]
    path.write_bytes(b"other")
    with pytest.raises(FileChanged):
        outbox.chunk(file, 0)
    with pytest.raises(FileChanged):
        outbox.chunk(FileInfo("work/never-told", 1, HASH), 0)
