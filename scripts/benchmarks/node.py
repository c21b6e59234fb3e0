"""The daemon's own cost: reaction times, idle load, and catching up, on Anvil with an instant renderer.

Writes docs/benchmarks/node.md and node.json. Times are wall clock of one machine; the clock of the chain is
the moment this process sees a block.
"""

import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from eth_abi.abi import encode

from node import __version__
from node.app.sandbox import Sandbox, sandbox
from node.chain import events
from node.chain.client import RawLog
from node.chain.devnet import REQUESTER, dev_signer
from node.chain.events import Payment, decode
from node.clock import SystemClock
from node.engine.book import Book
from node.engine.engine import Engine, Facts
from node.job.deal import PaymentReason
from node.job.effects import EffectKind
from node.job.events import Offer, OfferSeen
from node.job.spec import parse_inputs
from node.journal.database import Database
from node.journal.journal import Journal
from node.web.app import listen

ROOT = Path(__file__).resolve().parents[2]
MODULE = "sdv-pipeline:v1.1-lilypad2"
JOBS = 100
JOBS_PER_SECOND = 4
IDLE_S = 30
OFFERS = 100_000
OFFERS_PER_TRANSACTION = 1_000
RAW_BLOCKS = 4
"""As many blocks at once as the node asks for when each holds so many offers."""

# Emits JobAdded-like logs in a loop. Called with topic, count, end and the log's data: the first word of the
# data becomes end - count, ..., end - 1.
SPAMMER = "0x" + (
    "6060360380606060003760203" + "55b" + "806040350360005260003582600" + "0a1600190038060" + "0d5700"
)


class Daemon:
    """The node as its own process."""

    def __init__(self, box: Sandbox, directory: Path, **sections: dict[str, object]) -> None:
        probe = listen("127.0.0.1", 0)
        probe.socket.close()
        self.url = probe.url
        settings = box.settings("provider", directory)
        settings["http"] = {"port": probe.port, "public_url": probe.url}
        settings["worker"] = {"profile": "fake:0"}
        settings["log"] = {"format": "json"}
        for section, values in sections.items():
            settings.setdefault(section, {}).update(values)
        self.config = directory / "node.toml"
        lines = []
        for section, values in settings.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        self.config.write_text("\n".join(lines))
        self.directory = directory
        self.log = directory / "node.log"

    @asynccontextmanager
    async def running(self):
        with self.log.open("w") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "node.cli.main", "--config", str(self.config), "start",
                cwd=ROOT, stdout=log, stderr=log,
            )  # fmt: skip
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()

    async def status(self) -> dict | None:
        with suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/api/v1/status") as answer:
                return await answer.json()
        return None

    def logged(self, event: str) -> list[dict]:
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [entry for entry in found if entry.get("event") == event]


def when(entry: dict) -> float:
    return datetime.fromisoformat(entry["timestamp"]).timestamp()


async def send(box: Sandbox, to: str, data: bytes, sender: str) -> str:
    request = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(5_000_000)}
    return await box.market.rpc.call("eth_sendTransaction", [request])


class Blocks:
    """When this process first saw each block."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box
        self.seen: dict[int, float] = {}

    async def watch(self) -> None:
        while True:
            number = int(await self._box.market.rpc.call("eth_blockNumber", []), 16)
            self.seen.setdefault(number, time.time())
            await asyncio.sleep(0.005)


async def answer_proposals(box: Sandbox, agreed: set[str], jobs: int = JOBS) -> None:
    """Agree to every proposal, as a hundred requesters would, until as many are agreed as there are jobs."""
    market, cursor = box.market, 0
    sender = dev_signer(REQUESTER).address
    while len(agreed) < jobs:
        head = await market.chain.head()
        logs: list[RawLog] = []
        if head.number > cursor:
            logs = await market.chain.logs(
                cursor + 1, head.number, [market.addresses.payments], [events.PAYMENT]
            )
            cursor = head.number
        for log in map(decode, logs):
            proposed = isinstance(log, Payment) and log.reason == PaymentReason.TIMEOUT_COLLATERAL
            if proposed and log.payee != sender and log.deal_id not in agreed:
                agreed.add(log.deal_id)
                deal = await market.contracts.get_deal(log.deal_id)
                call = market.contracts.agree(deal)
                await send(box, call.to, call.data, sender)
        await asyncio.sleep(0.1)


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]  # noqa: E731
    return {"p50_s": round(statistics.median(ordered), 3), "p99_s": round(at(0.99), 3), "jobs": len(ordered)}


async def reaction_times(directory: Path) -> dict:
    async with sandbox(block_time_s=1) as box:
        market, sender = box.market, dev_signer(REQUESTER).address
        approve = market.contracts.approve(market.addresses.payments, 10**24)
        await send(box, approve.to, approve.data, sender)
        daemon = Daemon(
            box,
            directory,
            chain={"poll_interval_s": 0.2},
            admission={
                "max_open_deals": 1000,
                "max_open_proposals_per_requester": 1000,
                "initial_job_s": 1.0,
            },
        )
        async with daemon.running():
            while not (
                (status := await daemon.status()) and status["worker"]["ready"] and status.get("accepting")
            ):
                await asyncio.sleep(0.1)
            blocks = Blocks(box)
            watching = asyncio.create_task(blocks.watch())
            agreed: set[str] = set()
            answering = asyncio.create_task(answer_proposals(box, agreed))
            for number in range(JOBS):
                call = market.contracts.run_job(MODULE, (f"Prompt=fox {number}",), sender)
                await send(box, call.to, call.data, sender)
                await asyncio.sleep(1 / JOBS_PER_SECOND)
            await answering
            while True:
                status = await daemon.status()
                if status["jobs"]["by_phase"].get("SUBMITTED", 0) == JOBS:
                    break
                await asyncio.sleep(0.2)
            watching.cancel()
        head = await market.chain.head()
        posted = {}
        for log in await market.chain.logs(
            0, head.number, [market.addresses.job_manager], [events.JOB_ADDED]
        ):
            posted[f"j{decode(log).number}"] = blocks.seen[log.block_number]
        broadcast = {entry["intent"]: when(entry) for entry in daemon.logged("tx_broadcast")}
        agree = [broadcast[f"{job}:propose:1"] - at for job, at in posted.items()]
        result = []
        for job in posted:
            on_disk = os.stat(directory / "jobs" / job / "result").st_ctime
            result.append(broadcast[f"{job}:submit_result:1"] - on_disk)
        return {"offer_to_agree": quantiles(agree), "files_to_result": quantiles(result)}


async def idle_cost(directory: Path) -> dict:
    async with sandbox(block_time_s=1) as box:
        daemon = Daemon(box, directory, chain={"poll_interval_s": 1.0})
        async with daemon.running() as process:
            while not ((status := await daemon.status()) and status["worker"]["ready"]):
                await asyncio.sleep(0.1)
            await asyncio.sleep(10)
            before = cpu_seconds(process.pid)
            await asyncio.sleep(IDLE_S)
            share = (cpu_seconds(process.pid) - before) / IDLE_S
            rss = next(
                int(line.split()[1]) * 1024
                for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
                if line.startswith("VmRSS")
            )
    return {"cpu_share": round(share, 4), "rss_mb": round(rss / 1e6, 1), "over_s": IDLE_S}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def catching_up(directory: Path) -> dict:
    async with sandbox(block_time_s=None) as box:
        rpc, manager = box.market.rpc, box.market.addresses.job_manager
        sender = dev_signer(REQUESTER).address
        await rpc.call("anvil_setCode", [manager, SPAMMER])
        body = encode(
            ["uint256", "address", "address", "bytes", "bytes[]"],
            [
                0,
                sender,
                sender,
                MODULE.encode(),
                [b"Prompt=a red fox in snow at dawn", b"Steps=50", b"Seed=7"],
            ],
        )
        for first in range(1, OFFERS + 1, OFFERS_PER_TRANSACTION):
            head = encode(["uint256", "uint256"], [OFFERS_PER_TRANSACTION, first + OFFERS_PER_TRANSACTION])
            data = bytes.fromhex(events.JOB_ADDED[2:]) + head + body
            request = {"from": sender, "to": manager, "data": "0x" + data.hex(), "gas": hex(25_000_000)}
            await rpc.call("eth_sendTransaction", [request])
        sent = int(await rpc.call("eth_getTransactionCount", [sender, "pending"]), 16)
        # Anvil answers before its automatic block is there, and leaves what does not fit into it for the next.
        while int(await rpc.call("eth_getTransactionCount", [sender, "latest"]), 16) < sent:
            await box.market.mine()
        await rpc.call("evm_increaseTime", [hex(7200)])
        await box.market.mine()
        target = (await box.market.chain.head()).number
        raw_s = await raw_logs(box, target)
        daemon = Daemon(box, directory, chain={"poll_interval_s": 0.1, "lookback_blocks": 1_000_000})
        async with daemon.running() as process:
            while True:
                status = await daemon.status()
                if status and (status["chain"]["cursor"] or 0) >= target:
                    ended, worked_s = time.time(), cpu_seconds(process.pid)
                    break
                await asyncio.sleep(0.05)
            started = when(daemon.logged("node_started")[0])
        left = sum(status["skipped_since_start"].values())
        if left != OFFERS:
            raise SystemExit(f"the node told of {left} of {OFFERS} offers")
        seconds = ended - started
        size = sum(file.stat().st_size for file in directory.glob("journal.sqlite*"))
        return {
            "events": OFFERS,
            "seconds": round(seconds, 2),
            "events_per_second": round(OFFERS / seconds),
            "cpu_seconds_with_start": round(worked_s, 2),
            "raw_seconds": round(raw_s, 2),
            "raw_events_per_second": round(OFFERS / raw_s),
            "times_raw": round(seconds / raw_s, 2),
            "journal_bytes": size,
        }


async def raw_logs(box: Sandbox, last: int) -> float:
    """How long the endpoint alone takes: the same logs by bare eth_getLogs, JSON parsed and thrown away."""
    query = {"address": [box.market.addresses.job_manager], "topics": [[events.JOB_ADDED]]}
    began, found = time.perf_counter(), 0
    for first in range(0, last + 1, RAW_BLOCKS):
        blocks = {"fromBlock": hex(first), "toBlock": hex(min(last, first + RAW_BLOCKS - 1))}
        found += len(await box.market.rpc.call("eth_getLogs", [query | blocks]))
    if found != OFFERS:
        raise SystemExit(f"eth_getLogs gave {found} of {OFFERS} logs")
    return time.perf_counter() - began


def parse_speed() -> dict:
    """The limit of pure parsing on this machine, to read the catching-up figure against."""
    inputs = ("Prompt=a red fox in snow at dawn", "Steps=50", "Seed=7")
    began, count = time.perf_counter(), 20_000
    for _ in range(count):
        parse_inputs(MODULE, inputs)
    return {"parse_inputs_us": round((time.perf_counter() - began) / count * 1e6, 1)}


async def fresh_offers(directory: Path) -> dict:
    """How fast the inbox takes offers that become jobs."""
    count = 5_000
    spec = parse_inputs(MODULE, ("Prompt=a red fox in snow at dawn", "Steps=50", "Seed=7"))
    address = dev_signer(REQUESTER).address

    async def evaluate_later(*_: object) -> None:
        await asyncio.Event().wait()

    class Silent:
        def job_changed(self, *_: object) -> None: ...
        def log_skipped(self, *_: object) -> None: ...
        def job_waits(self, *_: object) -> None: ...

    database, clock = Database(directory), SystemClock()
    engine = Engine(
        Journal(database, clock),
        {EffectKind.EVALUATE: evaluate_later},
        book=Book(),
        observer=Silent(),
        clock=clock,
    )
    await engine.recover()
    running = asyncio.create_task(engine.run())
    offers = tuple(
        (f"j{n}", OfferSeen(Offer(n, address, address, f"0x{n:064x}", 1, 0, spec)))
        for n in range(1, count + 1)
    )
    began = time.perf_counter()
    for _ in offers:
        parse_inputs(MODULE, ("Prompt=a red fox in snow at dawn", "Steps=50", "Seed=7"))
    await engine.post(Facts(events=offers))
    seconds = time.perf_counter() - began
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    database.close()
    return {"offers": count, "offers_per_second": round(count / seconds)}


def report(figures: dict) -> str:
    agree, result, idle, catch = (
        figures[name] for name in ("offer_to_agree", "files_to_result", "idle", "catching_up")
    )
    return f"""# The daemon's own cost

Made by `scripts/bench node` with sdv-node {__version__}, {figures["machine"]}, {figures["date"]}.
Anvil on the same machine, 1 s blocks, instant fake renderer, one journal commit (fsync) per step.

| measure | value | target |
|---|---|---|
| JobAdded visible to `agree` broadcast, p50 / p99 of {agree["jobs"]} jobs | {agree["p50_s"]} s / {agree["p99_s"]} s | |
| files on disk to `addResult` broadcast, p50 / p99 of {result["jobs"]} jobs | {result["p50_s"]} s / {result["p99_s"]} s | |
| idle CPU of the daemon without its worker, over {idle["over_s"]} s | {idle["cpu_share"]:.2%} of a core | under 1 % |
| RSS of the daemon without its worker | {idle["rss_mb"]} MB | under 150 MB |
| catching up over {catch["events"]:,} JobAdded logs, decoding and journal included | {catch["events_per_second"]:,} events/s | at least 10,000 |
| the same logs by bare `eth_getLogs` in the same run, JSON parsed and thrown away | {catch["raw_events_per_second"]:,} events/s | |
| catching up in times of that | {catch["times_raw"]} | |
| processor time of the daemon up to then, its start included | {catch["cpu_seconds_with_start"]} s | |
| journal size after it | {catch["journal_bytes"] / 1e6:.1f} MB | |
| taking fresh offers in one batch: read, decided, job, event and order journaled | {figures["fresh"]["offers_per_second"]:,} offers/s | |
| of that, reading one offer's inputs | {figures["parse"]["parse_inputs_us"]} us | |

How they are read: "visible" is the moment a separate process polling every 5 ms first sees the block; the
broadcast is the node's own log line after the endpoint took the payload; "on disk" is the rename of the
finished result directory. The time to `agree` holds up to one poll interval (0.2 s here), the evaluation of
offers one after the other, and three fsyncs; blocks carry about {JOBS_PER_SECOND} offers each, so the later ones of
a block wait for the earlier ones.

Catching up is over offers that were posted while the node was away: older than `admission.max_offer_age_s`, they
are decoded, counted by reason and left; the newest 1,000 keep their reasons in the journal. It begins with the
node's first read, which asks for 500 blocks, is cut off at 32 MiB, and from then on asks for some 4,000 logs at
once. Per log the node's own part is about 25 us of processor time: 2.5 parsing JSON, 6.5 making a typed log of it,
8 decoding the ABI with its bounds, 5 deciding and 2 journaling and counting; the rest is receiving, and waiting for
the endpoint, which works on the same two cores and makes no answer while the node works on the last one. So the
ratio to the bare reads is what can be compared between machines.

Fresh offers become jobs; their figure leaves out the door before it (one request for the block's transactions and
one for the balances of up to 400 requesters) and the evaluation that follows, which both ask the chain.
"""


async def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        figures = {
            "machine": f"{os.cpu_count()} cores {platform.machine()}",
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
        }
        for name in ("reaction", "idle", "catching_up"):
            (Path(root) / name).mkdir(mode=0o700)
        print("reaction times over 100 jobs, about a minute", flush=True)
        figures |= await reaction_times(Path(root) / "reaction")
        print("idle cost, 40 seconds", flush=True)
        figures["idle"] = await idle_cost(Path(root) / "idle")
        print("catching up over 100,000 offers, about a minute", flush=True)
        figures["catching_up"] = await catching_up(Path(root) / "catching_up")
        figures["parse"] = parse_speed()
        (Path(root) / "fresh").mkdir()
        figures["fresh"] = await fresh_offers(Path(root) / "fresh")
    folder = ROOT / "docs" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "node.json").write_text(json.dumps(figures, indent=2) + "\n")
    (folder / "node.md").write_text(report(figures))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
