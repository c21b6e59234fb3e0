"""A result read back counts only if every block came and has the hash its CID promises."""

import random

import pytest

from node.publisher.blockstore import BlockStore
from node.publisher.car import write_car
from node.publisher.cid import RAW, hash_block, parse_cid
from node.publisher.dag import Scope, walk
from node.publisher.errors import BadContent
from node.publisher.fetch_limits import FetchLimits
from node.publisher.targets.readback import CarCheck
from node.publisher.targets.target import retry_after_s, said
from node.publisher.unixfs import import_path


@pytest.fixture
def blocks(tmp_path):
    for name, size in {"a": 600_000, "b": 10, "deep/c": 10}.items():
        file = tmp_path / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(random.Random(size).randbytes(size))
    store = BlockStore(tmp_path / "store", floor_bytes=0)
    root = parse_cid(import_path(tmp_path / "tree", store))
    return [*walk(store, root, Scope.ALL)]


def read(blocks, root=None, piece=10_000, limits=None):
    check = CarCheck(root or blocks[0][0], *([limits] if limits else []))
    data = b"".join(write_car(root or blocks[0][0], blocks))
    for start in range(0, len(data), piece):
        check.feed(data[start : start + piece])
    return check.finish(), len(data)


def test_all_blocks_in_any_pieces_are_a_read(blocks):
    for piece in (7, 1 << 20):
        received, sent = read(blocks, piece=piece)
        assert received == sent


def test_a_block_sent_again_is_tolerated_as_some_exporters_do(blocks):
    read([*blocks, blocks[-1]])


def test_a_missing_block_is_no_read(blocks):
    for left_out in range(1, len(blocks)):
        if blocks[left_out] not in blocks[:left_out]:
            with pytest.raises(BadContent, match=r"missing|not asked for"):
                read(blocks[:left_out] + blocks[left_out + 1 :])


def test_a_changed_block_is_no_read(blocks):
    for place, (block_id, block) in enumerate(blocks):
        changed = [*blocks]
        changed[place] = (block_id, block[:-1] + bytes([block[-1] ^ 1]))
        with pytest.raises(BadContent, match="does not have the bytes"):
            read(changed)


def test_another_tree_is_no_read(blocks):
    other = hash_block(RAW, b"other")
    with pytest.raises(BadContent, match="no CAR of version 1 whose one root is"):
        CarCheck(blocks[0][0]).feed(b"".join(write_car(other, [(other, b"other")])))
    with pytest.raises(BadContent, match="was not asked for"):
        read([*blocks, (other, b"other")])


def test_a_cut_answer_is_no_read(blocks):
    data = b"".join(write_car(blocks[0][0], blocks))
    for end in (0, 10, 100, len(data) // 2, len(data) - 1):
        check = CarCheck(blocks[0][0])
        check.feed(data[:end])
        with pytest.raises(BadContent):
            check.finish()


@pytest.mark.parametrize("limits", [FetchLimits(total_bytes=500_000), FetchLimits(blocks=3)])
def test_no_more_is_taken_than_the_limit(blocks, limits):
    with pytest.raises(BadContent, match="that is the limit"):
        read(blocks, limits=limits)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 12 ", 12),
        ("0", 1),
        ("99999999", 3600),
        ("-3", 60),
        ("Wed, 21 Oct", 60),
        (None, 60),
        ("٣", 60),
    ],
)
def test_a_wait_that_is_asked_for_is_bounded(header, seconds):
    assert retry_after_s(header) == seconds


def test_what_a_stranger_says_is_shortened_and_stays_on_one_line():
    assert said("no\nspace\x1b[31m" + "x" * 1000) == "no space [31m" + "x" * 187
