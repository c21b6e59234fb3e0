import pytest

from node.publisher import retention
from node.publisher.blockstore import BlockStore, block_file
from node.publisher.cid import DAG_PB, RAW, BlockId, hash_block, parse_cid
from node.publisher.dag import Scope, walk
from node.publisher.errors import BlockMissing, CorruptBlock, StoreUnavailable, TreeChanged, UnpublishableTree
from node.publisher.publish import Publisher
from node.publisher.unixfs import cid_of
from node.types import JobId

JOB = JobId("j17")


@pytest.fixture
def store(tmp_path):
    return BlockStore(tmp_path / "store", floor_bytes=0)


@pytest.fixture
def result(tmp_path):
    directory = tmp_path / "result"
    (directory / "outputs").mkdir(parents=True)
    (directory / "stderr").touch()
    (directory / "stdout").write_text("done\n")
    (directory / "outputs" / "video.mp4").write_bytes(bytes(range(256)) * 3000)
    return directory


async def test_a_published_result_is_stored_whole_pinned_and_named_by_its_cid(store, result):
    publisher = Publisher(store)
    cid = await publisher.publish(JOB, result)
    assert cid == cid_of(result)
    assert await publisher.pins() == {JOB: cid}
    blocks = list(walk(store, parse_cid(cid), Scope.ALL))
    assert sum(len(block) for _, block in blocks) == await publisher.stored_bytes()
    assert await publisher.free_bytes() > 0


async def test_publishing_twice_changes_nothing(store, result):
    publisher = Publisher(store)
    cid = await publisher.publish(JOB, result)
    files = {path: path.stat().st_ino for path in store.root.rglob("blocks/*/*")}
    assert await publisher.publish(JOB, result) == cid
    assert {path: path.stat().st_ino for path in store.root.rglob("blocks/*/*")} == files


async def test_a_block_that_went_bad_is_found_by_reading_back_and_written_anew(store, result):
    publisher = Publisher(store)
    cid = await publisher.publish(JOB, result)
    block_id, block = max(walk(store, parse_cid(cid), Scope.ALL), key=lambda pair: len(pair[1]))
    block_file(store.root, block_id.digest).write_bytes(bytes(len(block)))
    with pytest.raises(CorruptBlock):
        store.get(block_id)
    assert await publisher.publish(JOB, result) == cid
    assert store.get(block_id) == block


async def test_all_blocks_that_went_bad_or_went_missing_are_written_anew_at_once(store, result):
    publisher = Publisher(store)
    cid = await publisher.publish(JOB, result)
    blocks = dict(walk(store, parse_cid(cid), Scope.ALL))
    for number, (block_id, block) in enumerate(blocks.items()):
        file = block_file(store.root, block_id.digest)
        file.write_bytes(bytes(len(block)) if number % 2 else b"") if number % 3 else file.unlink()
    assert await publisher.publish(JOB, result) == cid
    assert dict(walk(store, parse_cid(cid), Scope.ALL)) == blocks
    assert not any((store.root / "tmp").iterdir())


class ForgetfulStore(BlockStore):
    """Loses a block as soon as it is asked for it."""

    def get(self, block_id):
        self.discard(block_id.digest)
        return super().get(block_id)


async def test_a_store_that_loses_what_it_took_gets_no_cid_out(tmp_path, result):
    store = ForgetfulStore(tmp_path / "store", floor_bytes=0)
    with pytest.raises(StoreUnavailable, match="loses what it has just taken: check the disk"):
        await Publisher(store).publish(JOB, result)


class MeddlingStore(BlockStore):
    """While it reads back, somebody writes to the result."""

    def __init__(self, root, victim):
        super().__init__(root, floor_bytes=0)
        self.victim = victim

    def get(self, block_id):
        self.victim.write_text("more\n")
        return super().get(block_id)


async def test_a_result_that_changes_meanwhile_is_not_published(tmp_path, result):
    with pytest.raises(TreeChanged):
        await Publisher(MeddlingStore(tmp_path / "store", result / "stdout")).publish(JOB, result)


async def test_a_result_with_a_link_fails_the_job_and_pins_nothing(store, result):
    (result / "outputs" / "key").symlink_to("/etc/passwd")
    with pytest.raises(UnpublishableTree):
        await Publisher(store).publish(JOB, result)
    assert await Publisher(store).pins() == {}


async def test_only_what_no_job_keeps_is_collected(store, result, tmp_path):
    publisher = Publisher(store)
    other = tmp_path / "other"
    other.mkdir()
    (other / "stdout").write_text("done\n")  # a block that both results share
    (other / "own").write_text("of the other alone")
    kept = await publisher.publish(JOB, result)
    await publisher.publish(JobId("j18"), other)

    assert (await publisher.collect_garbage()).blocks == 0
    assert await publisher.unpin(JobId("j18"))
    assert not await publisher.unpin(JobId("j18"))
    collected = await publisher.collect_garbage()
    assert collected.blocks == 2
    assert collected.freed_bytes > 0
    assert not store.has(hash_block(RAW, b"of the other alone"))
    assert len(list(walk(store, parse_cid(kept), Scope.ALL))) == collected.kept_blocks


async def test_a_job_pins_one_result_at_a_time(store, result):
    publisher = Publisher(store)
    await publisher.publish(JOB, result)
    (result / "stdout").write_text("another\n")
    cid = await publisher.publish(JOB, result)
    assert await publisher.pins() == {JOB: cid}


async def test_a_block_that_is_both_content_and_node_keeps_what_the_node_links_to(store, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "leaf").write_text("leaf")
    publisher = Publisher(store)
    node = store.get(parse_cid(await publisher.publish(JOB, inner)))
    # A file whose bytes are that directory's block: one digest, linked once as raw bytes and once as a node.
    outer = tmp_path / "outer"
    outer.mkdir()
    inner.rename(outer / "b")
    (outer / "a").write_bytes(node)
    cid = await publisher.publish(JOB, outer)
    await publisher.collect_garbage()
    walked = {block_id for block_id, _ in walk(store, parse_cid(cid), Scope.ALL)}
    assert walked >= {hash_block(RAW, node), hash_block(DAG_PB, node), hash_block(RAW, b"leaf")}


async def test_nothing_is_collected_while_a_kept_result_cannot_be_followed(store, result):
    publisher = Publisher(store)
    cid = await publisher.publish(JOB, result)
    orphan = result.parent / "orphan"
    orphan.write_text("not pinned")
    await publisher.publish(JobId("j1"), orphan)
    await publisher.unpin(JobId("j1"))
    block_file(store.root, parse_cid(cid).digest).unlink()
    with pytest.raises(BlockMissing):
        await publisher.collect_garbage()
    assert store.has(hash_block(RAW, b"not pinned"))


async def test_a_damaged_pin_stops_the_collection(store, result):
    publisher = Publisher(store)
    await publisher.publish(JOB, result)
    (store.root / "pins" / JOB).write_text("")
    with pytest.raises(StoreUnavailable, match="is damaged"):
        await publisher.collect_garbage()
    await publisher.publish(JOB, result)
    assert (await publisher.collect_garbage()).blocks == 0


@pytest.mark.parametrize("name", ["", "../j1", "a/b", ".hidden", "j\n1", "x" * 129])
def test_a_pin_cannot_be_named_out_of_its_folder(store, name):
    with store.writer() as writer, pytest.raises(ValueError, match="cannot name a pin"):
        retention.pin(store, writer, JobId(name), BlockId(RAW, bytes(32)))
