import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from node.publisher.blockstore import BlockStore
from node.publisher.car import write_car
from node.publisher.cid import BlockId, parse_cid
from node.publisher.dag import FileNode, Scope, load, read_range, walk
from node.publisher.errors import BadContent
from node.publisher.fetch_limits import FetchLimits
from node.publisher.fetching.harvest import Harvest
from node.publisher.fetching.stream import Intake
from node.publisher.fetching.tree import TreeWriter
from node.publisher.names import name_problem
from node.publisher.unixfs import Layout, cid_of, import_tree

# Small chunks and few links, so that small files already have trees of several levels.
SMALL = Layout(chunk_bytes=16, links_per_node=3)
LIMITS = FetchLimits(total_bytes=1 << 20, depth=8)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda name: name_problem(name) is None
)
# A small alphabet makes equal chunks likely: then one block stands at several places.
CONTENTS = st.binary(max_size=40) | st.binary(max_size=8).map(lambda chunk: chunk * 40)
TREES = st.recursive(CONTENTS, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)


def plant(path: Path, tree) -> None:
    if isinstance(tree, bytes):
        path.write_bytes(tree)
        return
    path.mkdir()
    for name, inner in tree.items():
        plant(path / name, inner)


def harvest(path: Path):
    if path.is_file():
        return path.read_bytes()
    return {inner.name: harvest(inner) for inner in path.iterdir()}


def receive(folder: Path, root: BlockId, car: bytes, step: int):
    (folder / "blocks").mkdir()
    harvested = Harvest(folder / "blocks", root, LIMITS)
    intake = Intake(harvested, LIMITS)
    for start in range(0, len(car), step):
        intake.feed(car[start : start + step])
    intake.finish()
    TreeWriter(harvested, LIMITS).write(root, folder / "tree")
    return harvest(folder / "tree")


def store_tree(folder: Path, tree, layout: Layout = SMALL) -> tuple[BlockStore, BlockId]:
    plant(folder / "source", tree)
    store = BlockStore(folder / "store", floor_bytes=0)
    with store.writer() as writer:
        return store, import_tree(folder / "source", writer, layout)


@settings(deadline=None, max_examples=60)
@given(
    tree=TREES, step=st.integers(1, 500), layout=st.sampled_from([Layout(), SMALL, Layout(0, False, 16, 3)])
)
def test_a_tree_comes_out_of_import_car_and_download_as_it_went_in(tree, step, layout):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, root = store_tree(folder, tree, layout)
        car = b"".join(write_car(root, walk(store, root, Scope.ALL)))
        assert receive(folder, root, car, step) == tree
        assert parse_cid(cid_of(folder / "tree", layout)) == root


@settings(deadline=None, max_examples=150)
@given(tree=TREES, data=st.data())
def test_no_byte_of_a_car_can_change_unnoticed(tree, data):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, root = store_tree(folder, tree)
        car = bytearray().join(write_car(root, walk(store, root, Scope.ALL)))
        car[data.draw(st.integers(0, len(car) - 1))] ^= data.draw(st.integers(1, 255))
        try:
            receive(folder, root, bytes(car), 100)
        except BadContent:
            return
        raise AssertionError("a changed CAR was taken for the tree")


@settings(deadline=None, max_examples=60)
@given(content=st.binary(max_size=400), first=st.integers(0, 400), length=st.integers(0, 400))
def test_any_range_of_a_file_is_that_slice_of_it(content, first, length):
    first = min(first, len(content))
    length = min(length, len(content) - first)
    with tempfile.TemporaryDirectory() as name:
        store, root = store_tree(Path(name), content)
        node = load(store, root)
        assert isinstance(node, FileNode)
        assert b"".join(read_range(store, node, first, length)) == content[first : first + length]


@settings(deadline=None, max_examples=40)
@given(content=st.binary(min_size=1, max_size=400), data=st.data())
def test_a_changed_file_has_another_cid(content, data):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "file"
        path.write_bytes(content)
        before = cid_of(path, SMALL)
        changed = bytearray(content)
        changed[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(changed)
        assert cid_of(path, SMALL) != before
