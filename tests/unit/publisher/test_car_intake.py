import pytest

from node.publisher.car import write_car
from node.publisher.cid import DAG_PB, RAW, BlockId, hash_block
from node.publisher.dagpb import Kind, Link, UnixFsData, encode_node, encode_unixfs
from node.publisher.errors import BadContent
from node.publisher.fetch_limits import FetchLimits
from node.publisher.fetching.harvest import Harvest
from node.publisher.fetching.stream import Intake
from node.publisher.fetching.tree import TreeWriter

LIMITS = FetchLimits(total_bytes=100_000, block_bytes=10_000, blocks=50, entries=20, depth=3)


class Blocks:
    """Builds a DAG block by block, honest or not; the last block made is its root."""

    def __init__(self) -> None:
        self.made: dict[BlockId, bytes] = {}

    def raw(self, data: bytes) -> BlockId:
        return self._add(RAW, data)

    def directory(self, *entries: tuple[str, BlockId]) -> BlockId:
        links = [Link(block_id, name, 1) for name, block_id in entries]
        return self._add(DAG_PB, encode_node(links, encode_unixfs(UnixFsData(Kind.DIRECTORY))))

    def file(self, *parts: tuple[BlockId, int]) -> BlockId:
        sizes = tuple(size for _, size in parts)
        links = [Link(block_id, "", 1) for block_id, _ in parts]
        return self._add(
            DAG_PB, encode_node(links, encode_unixfs(UnixFsData(Kind.FILE, b"", sum(sizes), sizes)))
        )

    def sections(self) -> list[tuple[BlockId, bytes]]:
        return list(reversed(self.made.items()))

    def _add(self, codec: int, block: bytes) -> BlockId:
        block_id = hash_block(codec, block)
        self.made[block_id] = block
        return block_id


@pytest.fixture
def receive(tmp_path):
    """Take a CAR with these sections, the first of them its root, and write the tree to the returned path."""
    (tmp_path / "blocks").mkdir()

    def run(sections, limits=LIMITS):
        root = sections[0][0]
        harvest = Harvest(tmp_path / "blocks", root, limits)
        intake = Intake(harvest, limits)
        for piece in write_car(root, sections):
            intake.feed(piece)
        intake.finish()
        TreeWriter(harvest, limits).write(root, tmp_path / "tree")
        return tmp_path / "tree"

    return run


@pytest.fixture
def blocks():
    return Blocks()


def test_an_honest_tree_is_written(receive, blocks):
    empty, text = blocks.raw(b""), blocks.raw(b"text")
    long = blocks.file((text, 4), (blocks.raw(b"more"), 4), (text, 4))
    blocks.directory(("empty", empty), ("long", long), ("text", text))
    tree = receive(blocks.sections())
    assert {path.name: path.read_bytes() for path in tree.iterdir()} == {
        "empty": b"",
        "long": b"textmoretext",
        "text": b"text",
    }


def test_a_single_raw_block_is_a_file(receive, blocks):
    blocks.raw(b"alone")
    assert receive(blocks.sections()).read_bytes() == b"alone"


def test_a_block_with_other_bytes_is_refused(receive, blocks):
    text = blocks.raw(b"text")
    blocks.directory(("text", text))
    blocks.made[text] = b"test"
    with pytest.raises(BadContent, match="does not have the bytes"):
        receive(blocks.sections())


def test_a_block_nobody_asked_for_is_refused(receive, blocks):
    blocks.directory(("text", blocks.raw(b"text")))
    with pytest.raises(BadContent, match="was not asked for"):
        receive([*blocks.sections(), (hash_block(RAW, b"spam"), b"spam")])


def test_a_block_that_comes_twice_is_refused(receive, blocks):
    blocks.directory(("text", blocks.raw(b"text")))
    with pytest.raises(BadContent, match="came twice"):
        receive([*blocks.sections(), blocks.sections()[1]])


def test_a_missing_block_is_noticed(receive, blocks):
    blocks.directory(("text", blocks.raw(b"text")))
    with pytest.raises(BadContent, match="1 blocks are missing"):
        receive(blocks.sections()[:1])


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", "..", ".ssh", "nul\0"])
def test_a_name_that_leads_out_of_the_tree_is_refused(receive, blocks, name, tmp_path):
    blocks.directory((name, blocks.raw(b"text")))
    with pytest.raises(BadContent, match="name"):
        receive(blocks.sections())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocks"]


def test_a_symbolic_link_is_refused(receive):
    node = encode_node([], b"\x08\x04\x12\x0b/etc/passwd")
    with pytest.raises(BadContent, match="type 4"):
        receive([(hash_block(DAG_PB, node), node)])


def test_a_part_that_is_not_as_long_as_its_parent_says_is_refused(receive, blocks):
    blocks.file((blocks.raw(b"text"), 5), (blocks.raw(b"abc"), 2))
    with pytest.raises(BadContent, match="is not a file part of 5 bytes"):
        receive(blocks.sections())


def test_a_directory_cannot_be_part_of_a_file(receive, blocks):
    blocks.file((blocks.directory(), 4), (blocks.raw(b"abc"), 3))
    with pytest.raises(BadContent, match="is not a file part"):
        receive(blocks.sections())


def test_a_large_block_is_refused(receive, blocks):
    blocks.raw(bytes(LIMITS.block_bytes + 1))
    with pytest.raises(BadContent, match="the limit is 10000"):
        receive(blocks.sections())


def test_a_large_car_is_refused(receive, blocks):
    blocks.file(*[(blocks.raw(bytes([number]) * 9000), 9000) for number in range(12)])
    with pytest.raises(BadContent, match="more than 100000 bytes arrived"):
        receive(blocks.sections())


def test_links_without_end_are_refused(receive, blocks):
    blocks.directory(*[(f"{number:03}", blocks.raw(bytes([number]))) for number in range(60)])
    with pytest.raises(BadContent, match="more than 50 blocks"):
        receive(blocks.sections())


def test_a_small_car_cannot_become_a_huge_file(receive, blocks):
    part, size = blocks.raw(bytes(1000)), 1000
    for _ in range(3):
        part, size = blocks.file(*[(part, size)] * 20), size * 20
    with pytest.raises(BadContent, match="8000000 bytes: the limit is 100000"):
        receive(blocks.sections())


def test_a_small_car_cannot_become_countless_reads(receive, blocks):
    part, size = blocks.raw(b"x"), 1
    for _ in range(2):
        part, size = blocks.file(*[(part, size)] * 20), size * 20
    with pytest.raises(BadContent, match="more than 50 blocks or"):
        receive(blocks.sections())


def test_a_small_car_cannot_become_countless_files(receive, blocks):
    folder = blocks.directory(*[(str(number), blocks.raw(b"")) for number in range(9)])
    blocks.directory(*[(str(number), folder) for number in range(9)])
    with pytest.raises(BadContent, match="more than 20 entries"):
        receive(blocks.sections())


def test_a_deep_tree_is_refused(receive, blocks):
    folder = blocks.directory()
    for _ in range(4):
        folder = blocks.directory(("d", folder))
    with pytest.raises(BadContent, match="3 directories deep"):
        receive(blocks.sections())


def test_a_file_of_endless_levels_is_refused(receive, blocks):
    part = blocks.raw(b"x")
    for _ in range(10):
        part = blocks.file((part, 1))
    with pytest.raises(BadContent, match="more than 8 levels"):
        receive(blocks.sections())
