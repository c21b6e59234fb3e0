"""Serving to Kubo and fetching from it by bitswap, beside Kubo serving to Kubo, in one run."""

import asyncio
import os
import time
from pathlib import Path

from node.publisher.blockstore import BlockStore
from node.publisher.cid import RAW, parse_cid
from node.publisher.dag import children, parse
from node.publisher.p2p.embedded import EmbeddedNode, PeerSettings
from node.publisher.unixfs import import_path
from scripts.benchmarks.ipfs.measurement import MB, Measurement, Row
from tests.integration.ipfs.kubo import kubo

SIZE_BYTES = 200 * MB
QUIC_BYTES = 50 * MB
TRANSFER_S = 300
LISTEN = ("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1")


async def _timed(work, size_bytes: int = SIZE_BYTES) -> float:
    began = time.perf_counter()
    await work
    return size_bytes / (time.perf_counter() - began) / MB


async def _rates(folder: Path) -> tuple[dict[str, float], float, float]:
    """Return MB/s by name, and the serving process's resident MB before and at its peak."""
    (folder / "file").write_bytes(os.urandom(SIZE_BYTES))
    (folder / "small").write_bytes(os.urandom(QUIC_BYTES))
    store = BlockStore(folder / "store", floor_bytes=0)
    root, small_root = (import_path(folder / name, store) for name in ("file", "small"))
    rates: dict[str, float] = {}
    async with (
        kubo(folder / "kubo1") as second,
        kubo(folder / "kubo0") as first,
        kubo(folder / "kubo2") as third,
        EmbeddedNode(store, folder / "peer.key", PeerSettings(LISTEN)) as node,
    ):
        tcp, quic = (next(text for text in node.addresses() if kind in text) for kind in ("/tcp/", "/udp/"))
        # From here on, so that what importing took is not in it.
        Path("/proc/self/clear_refs").write_text("5")
        quiet = _memory_mb("VmRSS")
        await second.connect(tcp)
        rates["serve"] = await _timed(second.download(root, folder / "out1", within_s=TRANSFER_S))
        theirs = await first.call("add", folder / "file", within_s=TRANSFER_S)
        await third.connect(first.address())
        rates["kubo"] = await _timed(third.download(theirs, folder / "out2", within_s=TRANSFER_S))

        def sink(block_id, block):
            return () if block_id.codec == RAW else children(parse(block_id, block))

        rates["fetch"] = await _timed(node.fetch([parse_cid(theirs)], [first.address()], sink))
        rates["quic"] = await _timed(_served(folder, 3, quic, small_root), QUIC_BYTES)
        three = asyncio.gather(*(_served(folder, number, tcp, root) for number in (4, 5, 6)))
        rates["three"] = await _timed(three, 3 * SIZE_BYTES)
    return rates, quiet, _memory_mb("VmHWM")


async def _served(folder: Path, number: int, address: str, root: str) -> None:
    async with kubo(folder / f"kubo{number}") as other:
        await other.connect(address)
        await other.download(root, folder / f"out{number}", within_s=TRANSFER_S)


def _memory_mb(name: str) -> float:
    """Return a figure of this process from the kernel: VmRSS for now, VmHWM for the peak."""
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) * 1024 / MB


def run_serving(folder: Path) -> list[Row]:
    rates, quiet, peak = asyncio.run(_rates(folder))

    def row(what: str, name: str, peer: str = "") -> Row:
        ratio = f", {rates[name] / rates[peer]:.2f} of that" if peer else ""
        return Row(what, f"{rates[name]:.0f} MB/s{ratio}")

    return [
        row(f"Kubo serving {SIZE_BYTES // MB} MB to Kubo over TCP", "kubo"),
        row("the embedded node serving it to one Kubo over TCP", "serve", "kubo"),
        row("to three Kubos at once, together, their start included", "three", "kubo"),
        row(f"to one Kubo over QUIC, {QUIC_BYTES // MB} MB, its start included", "quic", "kubo"),
        row("the embedded node fetching from one Kubo over TCP, each block checked", "fetch", "kubo"),
        Row(
            "resident memory of the serving process, before and at its peak", f"{quiet:.0f} MB, {peak:.0f} MB"
        ),
    ]


SERVING = Measurement(
    "serving",
    "Serving to Kubo",
    run_serving,
    "One transfer each, with the receiving Kubo's own checking and writing in it, on the same two cores; Kubo as a "
    "library, with boxo 0.11.\n\n"
    "Serving is bounded by Python's work for each 64 KiB frame: py-libp2p encrypts a frame, and writes it, one at a "
    "time in one thread. A block is read and checked in another thread meanwhile; one message holds one block of "
    "256 KiB, so a peer that does not read keeps 256 KiB in memory and no more. Several fetchers share that thread "
    "in turn, which is why three together get about what one gets. QUIC costs more: its packets of 1200 bytes are "
    "each encrypted and acknowledged in Python. A fetcher that minds speed connects by TCP or uses the gateway.",
)
