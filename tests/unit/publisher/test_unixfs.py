import os
import tracemalloc
from pathlib import Path

import pytest

from node.publisher.errors import UnpublishableTree
from node.publisher.unixfs import CID_V0, CID_V1, MAX_DEPTH, Layout, cid_of, import_tree

CHUNK = 262144
V1_PROTOBUF_LEAVES = Layout(raw_leaves=False)

# What the JavaScript implementation (ipfs-unixfs-importer: balanced, 174 links) makes of `pattern`.
KNOWN_FILES = [
    (CID_V1, 0, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
    (CID_V1, 1, "bafkreidogqfzz75tpkmjzjke425xqcrmpcib2p5tg44hnbirumdbpl5adu"),
    (CID_V1, CHUNK - 1, "bafkreifdvtaw3r22wcpxqwl6hqc23mjy6uznm4quylmlzhfaidv7ao74pq"),
    (CID_V1, CHUNK, "bafkreigfzujldfc3kac4khdwhsdftadvbpqf7r4rcz45tsy5v5mmuxsjce"),
    (CID_V1, CHUNK + 1, "bafybeig6znqiybwijw5celqbrnzrcmtx7vjz35f6q7fas2xpgbuduy4vim"),
    (CID_V1, 2 * CHUNK, "bafybeicaatol54nwf2fbglhdasdqztlm6boxuwawghqjcmghvrgz7xxtli"),
    (CID_V1, 174 * CHUNK, "bafybeigqxmeweruxc5h6sycnyeliy4dpwovxeixj65tcpg4ibzauryjidi"),
    (CID_V1, 174 * CHUNK + 1, "bafybeif27l2j4irucp2iapdwkgrvgo73i2rkszjsw4o5gr2c3xh2vtl2tq"),
    (CID_V1, 175 * CHUNK, "bafybeifff2p6p5m664n73irgruh5bccbxr5letpot4jmiygjvs5fpd3amq"),
    (CID_V1, 348 * CHUNK + 5, "bafybeid4gqpqk3p7e7huvpdrgztf6lr3librvefq7e36mrpzkznvwsfxhe"),
    (CID_V0, 0, "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
    (CID_V0, CHUNK, "QmPtBg68WR3S7PeajZ4A8nZuJtx5Q9HcegaqXa8P1ogwC5"),
    (CID_V0, CHUNK + 1, "QmW54qrASwQDdCyE1ik8GjQzD2NBZkp6k3Gnu3wh7HoF71"),
    (CID_V0, 174 * CHUNK + 1, "QmT24rDvrjZLZ4mTg2uzdAWASu3cc46G64Z4Za1Rg3F8Mm"),
    (V1_PROTOBUF_LEAVES, 0, "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y"),
    (V1_PROTOBUF_LEAVES, CHUNK + 1, "bafybeid2vwxx42bafoaxhut3kv4333duu6qxoiqhoec5ecxtxshoc4zgku"),
]


class Collector:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.blocks: list[tuple[bytes, bytes]] = []

    def put(self, digest, block):
        self.blocks.append((digest, bytes(block)))


def pattern(size: int) -> bytes:
    """Byte i is 7 i + 13 (i >> 8) + 31 (i >> 16), modulo 256."""
    rows = [bytes((7 * low + offset) & 255 for low in range(256)) for offset in range(256)]
    pages = b"".join(rows[(13 * page + 31 * (page >> 8)) & 255] for page in range((size + 255) // 256))
    return pages[:size]


def plant(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.mark.parametrize(("layout", "size", "cid"), KNOWN_FILES)
def test_a_file_has_the_cid_other_implementations_give_it(tmp_path, layout, size, cid):
    path = tmp_path / "file"
    path.write_bytes(pattern(size))
    assert cid_of(path, layout) == cid
    assert cid_of(str(path), layout) == cid


@pytest.mark.parametrize(
    ("layout", "cid"),
    [
        (CID_V1, "bafybeihl5lw2ntfz4dh77xwtnijbukket7iqu7ype74uiz6jtvctuczc3a"),
        (CID_V0, "Qmc3VqydgMQzN72EbbshspNjoNGvyGoc2AFmvGreHVaJxc"),
        (V1_PROTOBUF_LEAVES, "bafybeiac5u434m2j24s5hrwszadvckefrmjw535h55ljysao4igfkefkhi"),
    ],
)
def test_a_tree_has_the_cid_other_implementations_give_it(tmp_path, layout, cid):
    files = {
        "outputs/a.txt": b"abc",
        "outputs/ä.txt": b"x",
        "outputs/Z": b"zz",
        "outputs/frames/1.png": b"q",
        "stdout": b"hello\n",
        "stderr": b"",
        "exitCode": b"0",
    }
    assert cid_of(plant(tmp_path, files), layout) == cid


@pytest.mark.parametrize(
    ("path", "cid"),
    [
        ("", "QmdmK2nop27JwSvi6fbpw6x1fN5MixSb2VpJ62F3fHKizA"),
        ("outputs", "QmZoKufRaF2Za5LPXJxurTL3DYmwgw6cHNzCUViDXeCfcM"),
        ("outputs/b.bin", "QmNVwWg6N5yixbSukgRFyXez5HdRY52RhEbg823ejW3cHn"),
        ("stderr", "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
    ],
)
def test_a_result_has_the_data_cid_the_solver_protocol_gives_it(tmp_path, path, cid):
    files = {
        "exitCode": b"0",
        "stdout": b"hello\n",
        "stderr": b"",
        "outputs/a.txt": b"abc",
        "outputs/b.bin": bytes(range(256)) * 4096,
        ".hidden": b"left out",
        "outputs/.cache/x": b"left out",
    }
    assert cid_of(plant(tmp_path, files) / path, CID_V0) == cid


def test_the_empty_directory_has_its_known_cids(tmp_path):
    assert cid_of(tmp_path) == "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
    assert cid_of(tmp_path, CID_V0) == "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"


def test_every_block_reaches_the_sink_and_the_leaves_are_the_file(tmp_path):
    content = os.urandom(2 * CHUNK + 7)
    (tmp_path / "f").write_bytes(content)
    sink = Collector()
    root = import_tree(tmp_path / "f", sink)
    assert b"".join(block for _, block in sink.blocks[:3]) == content
    assert [digest for digest, _ in sink.blocks[3:]] == [root.digest]


def test_memory_stays_flat_however_large_the_file(tmp_path):
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 300 * CHUNK)
    tracemalloc.start()
    try:
        cid_of(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * CHUNK


def test_links_and_devices_are_refused_even_at_the_root(tmp_path):
    (tmp_path / "secret").write_text("s")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UnpublishableTree, match="type 'l'"):
        cid_of(tree)
    with pytest.raises(UnpublishableTree, match="type 'l'"):
        cid_of(tree / "link")
    (tree / "link").unlink()
    os.mkfifo(tree / "pipe")
    with pytest.raises(UnpublishableTree, match="type 'p'"):
        cid_of(tree)
    with pytest.raises(UnpublishableTree, match="type 'c'"):
        cid_of("/dev/null")


@pytest.mark.parametrize("name", [b"line\nbreak", b"\xff\xfe", b"bell\x07"])
def test_names_that_are_not_plain_text_are_refused(tmp_path, name):
    (tmp_path / os.fsdecode(name)).touch()
    with pytest.raises(UnpublishableTree, match="name"):
        cid_of(tmp_path)


def test_what_is_missing_is_refused(tmp_path):
    with pytest.raises(UnpublishableTree, match="cannot read"):
        cid_of(tmp_path / "nothing")


def test_a_tree_is_bounded_in_depth(tmp_path):
    deepest = tmp_path.joinpath(*["d"] * (MAX_DEPTH - 1))
    deepest.mkdir(parents=True)
    assert cid_of(tmp_path).startswith("bafybei")
    (deepest / "d").mkdir()
    with pytest.raises(UnpublishableTree, match="directories deep"):
        cid_of(tmp_path)


def test_a_directory_that_others_would_shard_is_refused(tmp_path):
    # 220 characters and a CID of 36 bytes make 256 bytes an entry: 1024 of them are exactly the limit.
    for number in range(1024):
        (tmp_path / f"{number:0220d}").touch()
    assert cid_of(tmp_path).startswith("bafybei")
    (tmp_path / f"{1024:0220d}").touch()
    with pytest.raises(UnpublishableTree, match="too many entries"):
        cid_of(tmp_path)
