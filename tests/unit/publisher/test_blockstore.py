import errno
import hashlib
import multiprocessing
import os
import shutil

import pytest

from node.errors import Retryable
from node.publisher.blockstore import BlockStore, block_file
from node.publisher.cid import DAG_PB, RAW, BlockId, hash_block
from node.publisher.errors import BlockMissing, CorruptBlock, StoreFull, StoreUnavailable
from node.publisher.unixfs import cid_of, import_path


@pytest.fixture
def store(tmp_path):
    return BlockStore(tmp_path / "store", floor_bytes=0)


def put(store: BlockStore, block: bytes) -> BlockId:
    block_id = hash_block(RAW, block)
    with store.writer() as writer:
        writer.put(block_id.digest, block)
    return block_id


def test_a_block_is_found_under_each_cid_with_its_digest(store):
    block_id = put(store, b"abc")
    for same in (block_id, BlockId(DAG_PB, block_id.digest), BlockId(DAG_PB, block_id.digest, 0)):
        assert store.has(same)
        assert store.get(same) == b"abc"
        assert store.size(same) == 3


def test_the_empty_block_is_a_block(store):
    block_id = put(store, b"")
    assert store.has(block_id)
    assert store.size(block_id) == 0
    assert store.get(block_id) == b""


def test_a_block_that_is_not_there_is_missing(store):
    block_id = hash_block(RAW, b"never stored")
    assert not store.has(block_id)
    with pytest.raises(BlockMissing) as caught:
        store.get(block_id)
    assert caught.value.key == block_id.digest


@pytest.mark.parametrize("damage", [b"", b"abd", b"abcd"])
def test_a_damaged_block_is_never_returned(store, damage):
    block_id = put(store, b"abc")
    block_file(store.root, block_id.digest).write_bytes(damage)
    with pytest.raises(CorruptBlock):
        store.get(block_id)


def test_a_block_of_the_wrong_size_is_written_anew(store):
    block_id = put(store, b"abc")
    block_file(store.root, block_id.digest).write_bytes(b"ab")
    put(store, b"abc")
    assert store.get(block_id) == b"abc"


def test_what_is_stored_already_is_not_written_again(store, tmp_path):
    (tmp_path / "f").write_bytes(bytes(600_000))
    import_path(tmp_path / "f", store)
    before = {path: path.stat().st_ino for path in store.root.rglob("blocks/*/*")}
    assert import_path(tmp_path / "f", store) == cid_of(tmp_path / "f")
    assert {path: path.stat().st_ino for path in store.root.rglob("blocks/*/*")} == before
    assert len(before) == 3  # two chunks are equal


def test_the_store_stops_at_its_floor_of_free_space(tmp_path):
    store = BlockStore(tmp_path / "store", floor_bytes=1 << 60)
    assert store.free_bytes() == 0
    with pytest.raises(StoreFull, match="free some space or lower the floor") as caught:
        put(store, b"abc")
    assert isinstance(caught.value, Retryable)
    assert store.stored_bytes() == 0
    assert list((store.root / "tmp").iterdir()) == []


def test_a_failed_change_leaves_no_temporary_files(store):
    def interrupted():
        with store.writer() as writer:
            writer.put(hashlib.sha256(b"abc").digest(), b"abc")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert list((store.root / "tmp").iterdir()) == []


def test_what_a_killed_writer_left_is_cleared(store):
    (store.root / "tmp" / "half").write_bytes(b"half a block")
    put(store, b"abc")
    assert list((store.root / "tmp").iterdir()) == []


def hold_the_lock(root, held, release):
    with BlockStore(root).exclusive():
        held.set()
        release.wait()


def test_writers_of_two_processes_take_turns(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=hold_the_lock, args=(tmp_path / "store", held, release))
    other.start()
    try:
        held.wait()
        impatient = BlockStore(tmp_path / "store", floor_bytes=0, lock_wait_s=0.1)
        with pytest.raises(StoreUnavailable, match="another writer"):
            put(impatient, b"abc")
        release.set()
        put(BlockStore(tmp_path / "store", floor_bytes=0), b"abc")
    finally:
        release.set()
        other.join()


def test_the_store_counts_its_bytes_and_passes_over_foreign_files(store):
    put(store, b"abc")
    put(store, b"defgh")
    (store.root / "blocks" / "00" / ".nfs0001").write_bytes(b"not a block")
    assert store.stored_bytes() == 8


def test_a_store_that_cannot_be_used_says_so(tmp_path):
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        BlockStore(tmp_path / "store")


@pytest.mark.parametrize("instead", ["nothing", "an empty folder", "another store"])
def test_a_store_that_is_gone_says_so_takes_nothing_and_does_not_call_its_blocks_lost(tmp_path, instead):
    store = BlockStore(tmp_path / "store", floor_bytes=0)
    kept = put(store, b"kept")
    assert store.problem() is None
    store.root.rename(tmp_path / "unmounted")
    if instead == "an empty folder":
        store.root.mkdir()
    if instead == "another store":
        BlockStore(store.root, floor_bytes=0)
    assert "mount its disk again or put the folder back" in store.problem()
    for act in (store.get, store.has):
        with pytest.raises(StoreUnavailable, match="mount its disk again"):
            act(kept)
    with pytest.raises(StoreUnavailable, match="mount its disk again"), store.writer():
        pytest.fail("a writer was given out")
    shutil.rmtree(store.root, ignore_errors=True)
    (tmp_path / "unmounted").rename(store.root)
    assert store.problem() is None
    assert store.get(kept) == b"kept"


def test_a_disk_that_became_read_only_is_told_with_what_to_do(store, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("node.publisher.blockstore.os.open", refuse)
    with pytest.raises(StoreUnavailable, match="mount it for writing"), store.writer():
        pytest.fail("a writer was given out")


def test_a_watcher_is_told_when_blocks_were_put_until_it_stops_watching(store):
    here = []
    with store.watched(lambda: here.append(store.has(hash_block(RAW, b"abc")))):
        put(store, b"abc")
    put(store, b"def")
    assert here == [True]
    assert store.writes == 2
