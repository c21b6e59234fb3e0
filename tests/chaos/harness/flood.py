"""A flood of offers with real ones among them (T14): what it costs the node, and what becomes of the real.

The job manager's code is replaced by one that emits any number of JobAdded logs. The flood's accounts send
their own transactions, so that nothing but their purse tells them from honest requesters; every tenth
transaction forges its offers in an honest requester's name.
"""

import asyncio
import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from eth_abi.abi import encode

from node.app.sandbox import Sandbox, sandbox
from node.chain import events
from node.types import Address
from scripts.benchmarks.node import SPAMMER, Blocks, Daemon

MODULE = b"sdv-pipeline:v1.1-lilypad2"
ETHER = 10**18
BODY = ["uint256", "address", "address", "bytes", "bytes[]"]
OFFERS_PER_TRANSACTION = 500
FUNDED = 200
"""At most so many of the flood's accounts own the price of a job."""
FORGED_SHARE = 10
"""One transaction of so many names an honest requester."""
FIRST_REAL = 10**9
"""Numbers of the real offers begin here."""
TICK_S = 0.1
ROOM, SHARE = 256, 16


@dataclass(frozen=True, slots=True)
class FloodFigures:
    """What one flood did. Sizes in bytes, times in seconds."""

    offers: int
    senders: int
    seconds: float
    real: int
    evaluated_after_s: tuple[float, ...]
    rss_growth: int
    journal_growth: int
    waiting_most: int
    waiting_most_of_one: int
    jobs: int
    left: dict[str, int]
    reasons_kept: int
    changed_by_a_restart: int
    """Jobs that a restart lost, and offers that it brought back."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as they are published."""
        return asdict(self) | {"evaluated_after_s": sorted(self.evaluated_after_s)}


@dataclass(frozen=True, slots=True)
class Posting:
    """One transaction: ``count`` offers numbered up to ``end``, in the name of ``payee``."""

    sender: Address
    payee: Address
    count: int
    end: int

    def request(self, manager: Address) -> dict[str, Any]:
        inputs = [b"Prompt=a red fox in snow", b"Steps=50", f"Seed={self.end}".encode()]
        data = bytes.fromhex(events.JOB_ADDED[2:]) + encode(["uint256", "uint256"], [self.count, self.end])
        data += encode(BODY, [0, self.payee, self.payee, MODULE, inputs])
        transaction = {
            "from": self.sender,
            "to": manager,
            "data": "0x" + data.hex(),
            "gas": hex(60_000 + 8_000 * self.count),
        }
        return {"jsonrpc": "2.0", "id": self.end, "method": "eth_sendTransaction", "params": [transaction]}


def account(kind: str, index: int) -> Address:
    """Return an account that nobody has the key of; Anvil sends for it all the same."""
    return Address(f"0x{kind.encode().hex():0<8}{index:032x}")


def plan(offers: int, senders: int, real: int, seed: int) -> list[Posting]:
    """Return the whole flood in order, with the real offers spread over it."""
    dice = random.Random(seed)
    each = min(OFFERS_PER_TRANSACTION, max(1, offers // senders))
    flood = []
    number = 1
    while number <= offers:
        count = min(each, offers + 1 - number)
        sender = account("sp", len(flood) % senders)
        forged = dice.randrange(FORGED_SHARE) == 0
        payee = account("re", dice.randrange(real)) if forged else sender
        flood.append(Posting(sender, payee, count, number + count))
        number += count
    dice.shuffle(flood)
    for index in range(real):
        honest = account("re", index)
        at = (index + 1) * len(flood) // (real + 1) + index
        flood.insert(at, Posting(honest, honest, 1, FIRST_REAL + index + 1))
    return flood


class Watch:
    """Looks at the node's memory and its journal while the flood is on."""

    def __init__(self, pid: int, journal: Path) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._journal = journal
        self.rss_at_first = self.rss()
        self.rss_most = self.rss_at_first
        self.size_at_first = self.size()
        self.waiting_most = 0
        self.waiting_most_of_one = 0

    def rss(self) -> int:
        lines = self._status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

    def size(self) -> int:
        return sum(file.stat().st_size for file in self._journal.parent.glob("journal.sqlite*"))

    def look(self) -> None:
        self.rss_most = max(self.rss_most, self.rss())
        waiting = Counter(map(requester_of, self.rows("SELECT body FROM jobs WHERE phase = 'SEEN'")))
        self.waiting_most = max(self.waiting_most, waiting.total())
        self.waiting_most_of_one = max(self.waiting_most_of_one, *waiting.values(), 0)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self._journal}?mode=ro", uri=True)) as journal:
            return journal.execute(query).fetchall()

    async def keep_looking(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(0.5)


def requester_of(row: tuple[Any, ...]) -> str:
    return str(json.loads(row[0])["offer"]["requester"])


class Sender:
    """Sends many requests to Anvil at once."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def send(self, requests: list[dict[str, Any]]) -> None:
        for first in range(0, len(requests), 500):
            part = requests[first : first + 500]
            async with self._session.post(self._url, json=part) as answer:
                replies = await answer.json()
            failed = [reply["error"] for reply in replies if "error" in reply]
            if failed or len(replies) != len(part):
                raise RuntimeError(f"Anvil took {len(replies)} of {len(part)}: {failed[:1]}")

    async def give_gas_money(self, accounts: list[Address]) -> None:
        await self.send([
            {"jsonrpc": "2.0", "id": index, "method": "anvil_setBalance", "params": [to, hex(10**6 * ETHER)]}
            for index, to in enumerate(accounts)
        ])  # fmt: skip


def in_time(postings: list[Posting], seconds: float) -> Iterator[list[Posting]]:
    """Yield what has to be sent in each tick, at an even pace of offers."""
    total = sum(posting.count for posting in postings)
    per_tick = total * TICK_S / seconds
    due, batch, sent = per_tick, [], 0
    for posting in postings:
        batch.append(posting)
        sent += posting.count
        if sent >= due:
            yield batch
            batch = []
            while due <= sent:
                due += per_tick
                if due <= sent:
                    yield []
    yield batch


async def run_offer_flood(
    directory: Path, *, offers: int, senders: int, seconds: float, seed: int, real: int = 20
) -> FloodFigures:
    """Flood a node and return what it cost. Raises if any offer is neither a job nor counted as left."""
    postings = plan(offers, senders, real, seed)
    async with sandbox(block_time_s=1) as box, aiohttp.ClientSession() as session:
        market, sender = box.market, Sender(box.market.url, session)
        manager = market.addresses.job_manager
        await market.rpc.call("anvil_autoImpersonateAccount", [True])
        honest = [account("re", index) for index in range(real)]
        spammers = sorted({posting.sender for posting in postings} - set(honest))
        await sender.give_gas_money([*honest, *spammers])
        for owner in [*honest, *spammers[:FUNDED]]:
            await market.fund(owner, token_wei=100 * ETHER)
        daemon = Daemon(
            box,
            directory,
            chain={"poll_interval_s": 0.2},
            admission={
                "max_open_deals": 1000,
                "max_open_proposals": 1000,
                "max_bid_gas_per_hour": 10**10,
                "max_open_proposals_per_requester": 1,
                "max_waiting_offers": ROOM,
                "max_waiting_offers_per_requester": SHARE,
                "initial_job_s": 1.0,
            },
        )
        async with daemon.running() as process:
            while not ((status := await daemon.status()) and status.get("accepting")):
                await asyncio.sleep(0.1)
            await market.rpc.call("anvil_setCode", [manager, SPAMMER])
            watch = Watch(process.pid, directory / "journal.sqlite")
            blocks = Blocks(box)
            async with asyncio.TaskGroup() as tasks:
                looking = [tasks.create_task(watch.keep_looking()), tasks.create_task(blocks.watch())]
                began = time.monotonic()
                for tick, batch in enumerate(in_time(postings, seconds), 1):
                    await sender.send([posting.request(manager) for posting in batch])
                    await asyncio.sleep(max(0.0, began + tick * TICK_S - time.monotonic()))
                lasted = time.monotonic() - began
                await read_to_the_end(box, daemon)
                while watch.rows(f"SELECT 1 FROM jobs WHERE number >= {FIRST_REAL} AND phase = 'SEEN'"):
                    await asyncio.sleep(0.1)
                for task in looking:
                    task.cancel()
            watch.look()
            left = (await daemon.status())["skipped_since_start"]
            delays = evaluation_delays(watch, blocks)
        (jobs,) = watch.rows("SELECT count(*) FROM jobs")[0]
        if jobs + sum(left.values()) != offers + real:
            raise RuntimeError(f"of {offers + real} offers {jobs} are jobs, left are {left}: some are lost")
        return FloodFigures(
            offers=offers,
            senders=senders,
            seconds=round(lasted, 1),
            real=real,
            evaluated_after_s=tuple(delays),
            rss_growth=watch.rss_most - watch.rss_at_first,
            journal_growth=watch.size() - watch.size_at_first,
            waiting_most=watch.waiting_most,
            waiting_most_of_one=watch.waiting_most_of_one,
            jobs=jobs,
            left=left,
            reasons_kept=watch.rows("SELECT count(*) FROM skipped")[0][0],
            changed_by_a_restart=await changed_by_a_restart(box, daemon, watch),
        )


async def read_to_the_end(box: Sandbox, daemon: Daemon) -> None:
    """Wait until every transaction is mined and the node has read the last block."""
    while int((await box.market.rpc.call("txpool_status", []))["pending"], 16):
        await asyncio.sleep(0.1)
    last = (await box.market.chain.head()).number
    while not (status := await daemon.status()) or (status["chain"]["cursor"] or 0) < last:
        await asyncio.sleep(0.1)


async def changed_by_a_restart(box: Sandbox, daemon: Daemon, watch: Watch) -> int:
    """Start the node again, let it read on, and return how many jobs differ from those it had."""
    before = set(watch.rows("SELECT job_id FROM jobs"))
    async with daemon.running():
        await box.market.mine()
        await read_to_the_end(box, daemon)
    return len(before ^ set(watch.rows("SELECT job_id FROM jobs")))


def evaluation_delays(watch: Watch, blocks: Blocks) -> list[float]:
    """Return, for each real offer that was admitted, how long after its block it was."""
    rows = watch.rows(
        "SELECT events.at, jobs.body FROM events JOIN jobs USING (job_id) "
        f"WHERE jobs.number >= {FIRST_REAL} AND events.kind = 'Admitted'"
    )
    return [round(at - blocks.seen[json.loads(body)["offer"]["block_number"]], 3) for at, body in rows]
