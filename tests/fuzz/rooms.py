"""Hostile input through whole rooms: logs up to the journal's records, and requests through the HTTP server.

Three kinds of accounts post offers: honest, without money, and forged; what comes out of the door must be
writable and the same after it was written.
"""

import asyncio
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from node.admission.intake import Intake, IntakeTerms
from node.admission.places import Places
from node.admission.pricing import standing_terms
from node.chain.client import Block, RawLog, Transaction
from node.chain.events import JobAdded, decode
from node.chain.logs import LogBatch
from node.clock import SystemClock
from node.config import load
from node.job.events import OfferSeen
from node.job.transition import open_job
from node.journal.codec import decode_event, decode_job, encode_event, encode_job
from node.market.feed import MarketFeed, OfferPolicy
from node.market.own_deals import OwnDeals
from node.observe.health import Health
from node.observe.metrics import Metrics
from node.publisher.blockstore import BlockStore
from node.publisher.gateway import gateway_routes
from node.publisher.unixfs import import_path
from node.types import Address, BlockHash, BlockNumber, TxHash
from node.web.app import build_app
from node.web.callers import Callers
from node.web.sessions import Sessions
from node.web.signing_in import SigningIn
from node.web.token_file import FILE_NAME, TokenFile
from tests.fakes.status_source import FakeStatusSource
from tests.fuzz.corpus import damaged_text, text
from tests.fuzz.readers import GOOD_OFFERS, Target, hostile_log

PROVIDER = Address("0x" + "a1" * 20)
HASH = BlockHash("0x" + "bb" * 32)
NOW = 1_700_000_000
ROOM = Places(total=6, per_requester=3)


class Market:
    """One batch of logs, and a chain on which every payee is honest, poor or forged by its last digit."""

    def __init__(self, logs: list[RawLog]) -> None:
        self._logs = logs
        self._payees = {
            log.tx_hash: event.payee for log in logs if isinstance(event := decode(log), JobAdded)
        }

    async def next(self) -> LogBatch:
        block = Block(BlockNumber(9), HASH, NOW)
        return LogBatch(tuple(self._logs), block, block, caught_up=True)

    def again(self) -> None:
        raise AssertionError("nothing that somebody wrote may make the feed read a range again")

    async def block(self, number: int) -> Block:
        return Block(BlockNumber(number), HASH, NOW)

    async def transaction(self, tx_hash: TxHash) -> Transaction | None:
        payee = self._payees[tx_hash]
        sender = PROVIDER if payee.endswith(("0", "1")) else payee
        return None if payee.endswith("2") else Transaction(tx_hash, sender, None, 0, BlockNumber(9))

    async def block_transactions(self, number: int) -> tuple[Transaction, ...]:
        found = [await self.transaction(tx_hash) for tx_hash in self._payees]
        return tuple(transaction for transaction in found if transaction is not None)

    async def token_balance(self, address: Address) -> int:
        return 0 if address.endswith("3") else 10**24

    async def token_balances(self, addresses: Any) -> dict[Address, int]:
        return {address: await self.token_balance(address) for address in addresses}


def hostile_batch(dice: Random) -> list[RawLog]:
    logs = []
    for index in range(1 + dice.randrange(8)):
        log = hostile_log(dice)
        if dice.random() < 0.4:
            topic, data = dice.choice(GOOD_OFFERS)
            log = replace(log, topics=(topic,), data=with_payee(data, dice.randrange(64)))
        tx_hash = TxHash(f"0x{dice.randrange(4):064x}")
        place = {"block_number": BlockNumber(9), "block_hash": HASH, "tx_hash": tx_hash, "log_index": index}
        logs.append(replace(log, **place))
    return logs


def with_payee(data: bytes, mark: int) -> bytes:
    """Return an offer's data with another payee: its last digit says what the chain knows of it."""
    return data[:64] + mark.to_bytes(32) + data[96:]


CONFIG = load(environment={})
TERMS = IntakeTerms(ROOM, standing_terms(CONFIG.pricing, CONFIG.deal), PROVIDER)


async def read_batch(logs: list[RawLog]) -> None:
    market = Market(logs)
    feed = MarketFeed(
        market,
        market,
        provider=PROVIDER,
        policy=OfferPolicy(frozenset(CONFIG.market.modules), 600),
        gate=Intake(market, market, dict, TERMS),
        own_deals=OwnDeals(lambda _: None, lambda _: None, None),
    )
    batch = await feed.next()
    assert batch is not None
    taken = [event for _, event in batch.events if isinstance(event, OfferSeen)]
    assert len(taken) <= ROOM.total
    for seen in taken:
        job, _ = open_job(seen)
        assert decode_event(*encode_event(seen)) == seen
        assert decode_job(encode_job(job)) == job
    for skipped in batch.skipped:
        assert skipped.reason.isprintable()
        skipped.reason.encode()


class Server:
    """The node's whole HTTP application over a small result, in memory."""

    def __init__(self, folder: Path) -> None:
        result = folder / "result" / "outputs"
        result.mkdir(parents=True)
        (result / "still_00001_.png").write_bytes(bytes(range(256)) * 40)
        (result.parent / "exitCode").write_text("0")
        store = BlockStore(folder / "store", floor_bytes=0)
        self.cid = import_path(folder / "result", store)
        source = FakeStatusSource()
        source.add_job("a fox")
        health = Health(SystemClock())
        health.started()
        token = TokenFile(folder / FILE_NAME)
        token.ensure()
        sessions = Sessions(token, SystemClock())
        callers = Callers(token, sessions, is_own_process=lambda *_: True)
        self.app = build_app(
            source,
            gateway_routes(store),
            Metrics("0"),
            health,
            callers=callers,
            signing_in=SigningIn(sessions),
        )

    async def exchange(self, scope: dict[str, Any]) -> tuple[int, bytes]:
        sent: list[dict[str, Any]] = []
        ended = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        await self.app(scope, receive, send)
        ended.set()
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


_KEPT = tempfile.TemporaryDirectory(prefix="sdv-fuzz-")
_SERVERS: list[Server] = []


def server() -> Server:
    if not _SERVERS:
        _SERVERS.append(Server(Path(_KEPT.name)))
    return _SERVERS[0]


NAMES = ("limit", "before", "format", "dag-scope", "entity-bytes", "filename", "download")
VALUES = ("car", "raw", "all", "entity", "1", "j1", "-1", "0:*")
FIELDS = ("range", "accept", "if-none-match", "if-range", "origin", "cookie")
ENTRIES = (
    *("bytes=0-9", "bytes=-1", "bytes=5-", f"bytes={2**70}-", "bytes=0-1,2-3", "bytes=9-1"),
    *("application/vnd.ipld.car", "application/vnd.ipld.raw;q=1e400", "*/*;q=NaN", '"', 'W/"', "*"),
)
METHODS = ("GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "TRACE", "GETS", "get")


def hostile_request(dice: Random) -> dict[str, Any]:
    cid = server().cid
    known = (
        *("/", "/livez", "/metrics", "/api/v1/status", "/api/v1/jobs", "/api/v1/jobs/j1", "/static/app.css"),
        *(f"/ipfs/{cid}", f"/ipfs/{cid}/outputs/still_00001_.png", f"/ipfs/{cid}/exitCode"),
    )
    path = dice.choice(known)
    kind = dice.random()
    if kind < 0.4:
        path = "/" + damaged_text(path[1:], dice)
    elif kind < 0.6:
        path = f"{path}/{text(dice)[:3000]}"
    values = [dice.choice((*VALUES, text(dice)[:300])) for _ in range(dice.randrange(4))]
    query = "&".join(f"{dice.choice(NAMES)}={value}" for value in values)
    headers = [("host", dice.choice(("localhost", "localhost:1", "[::1]", text(dice)[:200])))]
    for field in FIELDS:
        value = dice.choice((*ENTRIES, f'"{cid}"', text(dice)[:2000]))
        headers += [(field, value)] if dice.random() < 0.3 else []
    # A server hands over what it decoded from percent signs: any text that is UTF-8, and header bytes.
    path = path.encode("utf-8", "replace").decode()
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": dice.choice(METHODS),
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode("utf-8", "replace"),
        "headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8470),
    }


async def read_request(scope: dict[str, Any]) -> None:
    status, body = await server().exchange(scope)
    assert 200 <= status < 500, status
    if scope["method"] not in {"GET", "HEAD"}:
        # Not allowed, or no such path, or its spelling without the slash; never an answer.
        assert status in {307, 404, 405, 413, 421}, status
    elif status >= 400 and scope["path"].startswith("/api/") and scope["method"] == "GET":
        assert json.loads(body)["error"]


TARGETS = (
    Target("offers to the journal", 8, hostile_batch, read_batch),
    Target("HTTP requests", 4, hostile_request, read_request),
)
