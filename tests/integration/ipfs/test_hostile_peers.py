"""Hostile peers neither make the node's memory grow by more than 64 MB nor stop another fetcher."""

import asyncio
import json
import logging
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from node.publisher.blockstore import BlockStore
from node.publisher.cid import RAW, BlockId
from node.publisher.p2p.portal import TrioPortal
from node.publisher.unixfs import import_tree
from tests.integration.ipfs import attackers
from tests.integration.ipfs.nodes import Collector, digests, make_tree, peer, stored

pytestmark = [pytest.mark.integration, pytest.mark.slow]
MAX_GROWTH_BYTES = 64_000_000
UNDER_ATTACK_S = 4.0


class Victim:
    """The node under attack, in its own process."""

    def __init__(self, process, store, root):
        self._process = process
        self.store = store
        self.root = root
        self.addresses = []
        self.peak_bytes = 0

    def address(self, transport="tcp"):
        return next(text for text in self.addresses if f"/{transport}/" in text)

    async def line(self):
        async with asyncio.timeout(30):
            return json.loads(await self._process.stdout.readline())

    async def stats(self):
        self._process.stdin.write(b"stats\n")
        return await self.line()

    def memory_bytes(self):
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    async def watch(self):
        while True:
            self.peak_bytes = max(self.peak_bytes, self.memory_bytes())
            await asyncio.sleep(0.02)


@asynccontextmanager
async def victim(directory, size_bytes):
    directory.mkdir()
    store = BlockStore(directory / "store", floor_bytes=0)
    with store.writer() as writer:
        root = import_tree(make_tree(directory / "tree", size_bytes), writer)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.ipfs.victim",
        str(directory),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        node = Victim(process, store, root)
        node.addresses = await node.line()
        yield node
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def under_attack(directory, address, attack, count):
    """Have ``count`` attackers at work, each doing something at least."""
    mob = [attackers.Attacker(directory, f"attacker{n}") for n in range(count)]
    async with TrioPortal("attackers") as portal:
        running = [asyncio.create_task(portal.call(one.run, address, attack)) for one in mob]
        try:
            async with asyncio.timeout(60):
                while not all(one.deeds or one.cut_off for one in mob):
                    await asyncio.sleep(0.05)
            yield mob
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)


async def fetched(node, under, transport):
    sink = Collector()
    await node.fetch([under.root], [under.address(transport)], sink)
    return digests(sink) == stored(under.store)


ATTACKS = {
    "oversized messages": (attackers.oversized_messages, 3),
    "wrong blocks": (attackers.wrong_blocks, 3),
    "wantlist flood": (attackers.wantlist_flood, 2),
    "slow readers": (attackers.slow_reader, 24),
    "beyond the window": (attackers.beyond_the_window, 3),
    "many streams": (attackers.many_streams, 2),
    "silent sockets": (attackers.silent_sockets, 1),
}


OVER_QUIC = ("oversized messages", "wantlist flood", "many streams")


@pytest.mark.parametrize(
    ("transport", "name"), [*(("tcp", name) for name in ATTACKS), *(("udp", name) for name in OVER_QUIC)]
)
async def test_an_attack_neither_fills_memory_nor_stops_another_fetcher(tmp_path, transport, name):
    attack, count = ATTACKS[name]
    # Over QUIC, which py-libp2p does in Python, bytes take ten times as long.
    size_bytes = 20_000_000 if transport == "tcp" else 1_000_000
    async with victim(tmp_path / "victim", size_bytes) as under, peer(tmp_path / "honest") as honest:
        if name == "slow readers":
            attack = attack([BlockId(RAW, digest) for digest in stored(under.store)])
        if name == "silent sockets":
            attack = attack(under.address(transport))
        assert await fetched(honest, under, transport)
        blocks_before = stored(under.store)
        quiet_bytes = under.peak_bytes = under.memory_bytes()
        watching = asyncio.create_task(under.watch())
        async with under_attack(tmp_path, under.address(transport), attack, count) as mob:
            async with asyncio.timeout(120):
                assert await fetched(honest, under, transport)
            await asyncio.sleep(UNDER_ATTACK_S)
            async with asyncio.timeout(120), peer(tmp_path / "newcomer") as newcomer:
                assert await fetched(newcomer, under, transport)
            assert all(one.deeds for one in mob)
        watching.cancel()
        stats = await under.stats()
        growth_bytes = under.peak_bytes - quiet_bytes
        logging.getLogger(__name__).info("%s: %.1f MB more, %s", name, growth_bytes / 1e6, stats)
        assert growth_bytes < MAX_GROWTH_BYTES
        assert stored(under.store) == blocks_before
        assert stats["restarts"] == 0
        match name:
            case "wrong blocks":
                assert stats["unsolicited_blocks"] > 0
            case "oversized messages":
                assert stats["refused_messages"] > 0
