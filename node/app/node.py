"""The provider node as it runs: started in order, stopped in reverse. ``Assembly`` is what it consists of."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from node.admission.bids import BLOCKS_IN_AN_HOUR
from node.app.assembly import Assembly
from node.app.control import Arguments, Verb, control_socket
from node.app.drain import DRAIN, RESUME
from node.app.executing import SpareExecutions
from node.app.following import Door, Listeners, build_follower, may_start
from node.app.gauges import Gauges
from node.app.ipfs import ipfs_status, ipfs_verbs, keep_provided
from node.app.mediating import Mediation
from node.app.own_disputes import OwnDisputes
from node.app.parties import open_market
from node.app.reloading import Reloading, Reread
from node.app.room import room_to_start
from node.app.stopping import let_stages_end
from node.app.treasury import Treasury
from node.app.wallet import guarded, open_wallet
from node.app.workers import worker_places
from node.chain.signer import Key
from node.config import Config
from node.engine.follow import Follower, Refresher
from node.engine.snapshot import Snapshot
from node.errors import Fatal
from node.journal.database import Database
from node.observe.log_records import LogRecord, Wanted, last_records, recorded
from node.observe.systemd import Notifier, feed_watchdog
from node.publisher.gateway import gateway_routes
from node.types import Address, Cid, Wei
from node.web.app import build_app, listen, serve_on
from node.web.callers import Callers
from node.web.control import Orders
from node.web.gpu_history import gpu_history_table
from node.web.job_files import job_file_table
from node.web.sessions import SIGN_IN, SIGN_IN_S, Sessions
from node.web.signing_in import SigningIn
from node.web.token_file import FILE_NAME, TokenFile
from node.worker.pool import WorkerPool

GAUGES_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class RunningNode:
    """What a caller of ``run_node`` may look at while it runs."""

    url: str
    address: Address
    snapshot: Snapshot
    pool: WorkerPool


async def run_node(
    config: Config,
    *,
    shutdown: asyncio.Event,
    on_ready: Callable[[RunningNode], None] = lambda _: None,
    key: Key | None = None,
    prepare: Callable[[Assembly], None] = lambda _: None,
    reread: Reread | None = None,
    at_once: asyncio.Event | None = None,
) -> None:
    """Run the node until ``shutdown`` is set. ``key`` is the opened wallet, if it is opened already.

    It then lets the stage end that is computed, unless ``at_once`` is set.

    ``prepare`` may change what the node consists of before it runs, as a demonstration of cheating does.
    ``reread`` is where changed settings come from while it runs.

    Raises the NodeError that keeps it from starting or going on, possibly inside an exception group.
    """
    directory = config.node.directory
    if not await room_to_start(directory, shutdown):
        return
    places = await worker_places(config.worker, config.node.directory)
    # First the directory's lock: of a second start of the same node that is what to tell, not its port.
    database = Database(directory)
    try:
        listener = listen(config.http.host, config.http.port)
    except BaseException:
        database.close()
        raise
    try:
        # Only now is the directory this node's alone: two nodes must not write one record.
        with recorded(directory):
            async with open_market(config.chain) as market:
                key = guarded(key or open_wallet(config), config, market.contracts, database)
                assembly = Assembly(config, listener, database, market, key, places)
                prepare(assembly)
                await _Run(assembly, reread).run(shutdown, at_once or asyncio.Event(), on_ready)
    finally:
        listener.socket.close()
        database.close()


class _Run:
    """One run of a node."""

    def __init__(self, assembly: Assembly, reread: Reread | None) -> None:
        self._node = node = assembly
        self._door = Door(node.config, node.market, node.book, node.provider, node.prices)
        self._gauges = self._new_gauges()
        self._treasury = Treasury(node.config, node.market, node.transactions, needed=self._needed_by_deals)
        self._reloading = Reloading(
            node, reread, door=self._door, gauges=self._gauges, treasury=self._treasury
        )

    async def _offer_document(self) -> bytes | None:
        offer = self._node.snapshot.part("offer") or {}
        cid = offer.get("cid")
        return await self._node.publisher.read_file(Cid(cid)) if cid else None

    def _verbs(self, sessions: Sessions) -> Mapping[str, Verb]:
        """Return what the control socket carries out: each room's verbs, named after their commands."""
        node = self._node
        rooms = (
            node.drain.verbs(),
            self._treasury.verbs(),
            self._reloading.verbs(),
            node.announcer.verbs(),
            node.housekeeper.verbs(),
            ipfs_verbs(node.peer),
            {SIGN_IN: partial(_sign_in, sessions)},
        )
        return {name: verb for verbs in rooms for name, verb in verbs.items()}

    async def _needed_by_deals(self) -> Wei:
        return self._node.book.committed_wei()

    async def run(
        self, shutdown: asyncio.Event, at_once: asyncio.Event, on_ready: Callable[[RunningNode], None]
    ) -> None:
        """Start in order, run until told to stop, stop what takes new work first."""
        node = self._node
        notifier = Notifier()
        stop_web = asyncio.Event()
        token = TokenFile(node.directory / FILE_NAME)
        token.ensure()
        sessions = Sessions(token, node.clock)
        follower = await self._begin()
        spare = SpareExecutions(node)
        judging = [("own disputes", OwnDisputes(node, spare).run(node.config.chain.poll_interval_s))]
        if node.config.mediator.enabled:
            judging += await Mediation(node, spare).work()
        if node.peer is not None:
            node.peer.start()
        try:
            async with node.tracing.running(), asyncio.TaskGroup() as tasks, node.several.open():
                tasks.create_task(serve_on(self._web(token, sessions), node.listener, stop_web), name="web")
                following = tasks.create_task(follower.run(), name="follower")
                working = [
                    tasks.create_task(work, name=name)
                    for name, work in (
                        ("engine", node.engine.run()),
                        ("key watch", node.key_watch.run()),
                        ("gauges", self._refresher().run()),
                        ("ipfs status", self._ipfs_refresher().run()),
                        ("gpus", node.gpus.run()),
                        ("watchdog", feed_watchdog(notifier, lambda: node.health.live().ok, node.clock)),
                        ("announce", node.announcer.run()),
                        ("housekeeping", node.housekeeper.run()),
                        ("reload", self._reloading.run()),
                        *self._providing(),
                        *judging,
                    )
                ]
                node.health.probe("accepting", node.declines)
                node.health.started()
                notifier.ready(f"following chain {node.market.contracts.place.chain_id}")

                async def stop_for(fatal: Fatal) -> None:
                    raise fatal

                def on_fatal(fatal: Fatal) -> None:
                    tasks.create_task(stop_for(fatal), name="command")

                async with control_socket(node.directory, self._verbs(sessions), on_fatal=on_fatal):
                    on_ready(RunningNode(node.listener.url, node.provider, node.snapshot, node.pool))
                    node.log.info("node_started", url=node.listener.url, address=node.provider)
                    await shutdown.wait()
                notifier.stopping("stopping: the stage that is computed may end")
                node.health.stopping()
                node.log.info("node_stopping", stage_may_take_s=node.config.worker.stop_wait_s)
                # Whoever reads the chain brings new work.
                following.cancel()
                await let_stages_end(node.pool, node.config.worker.stop_wait_s, at_once)
                for task in working:
                    task.cancel()
                stop_web.set()
        finally:
            await node.transactions.close()
            if node.peer is not None:
                await node.peer.close()
            await node.pool.stop()
            node.gpus.close()

    async def _begin(self) -> Follower:
        """Take up what the journal and the chain have of earlier runs, and return who reads on."""
        node = self._node
        follower = await self._follower()
        symbol = await node.market.contracts.token_symbol()
        node.chain_status.connected(node.market.contracts, symbol)
        # Before anything is sent: another node may have been at work with our key while this one was down.
        await node.key_watch.look()
        head = await node.market.chain.head()
        node.bids.restore(await node.ledger.gas(after=max(0, head.number - BLOCKS_IN_AN_HOUR)))
        await node.transactions.resume()
        await node.announcer.restore()
        await node.drain.restore()
        await node.gpus.begin()
        return follower

    async def _follower(self) -> Follower:
        node = self._node
        await may_start(node.config, node.market, node.journal, node.halts)
        follower = await build_follower(
            node.config,
            node.market,
            journal=node.journal,
            halts=node.halts,
            engine=node.engine,
            book=node.book,
            transactions=node.transaction_log,
            provider=node.provider,
            listeners=Listeners(
                on_batch=node.chain_status.read_up_to,
                on_trouble=node.chain_status.trouble,
                follow_transactions=node.transactions.follow_open,
            ),
            gate=self._door,
            clock=node.clock,
        )
        await node.snapshot.restore()
        return follower

    def _new_gauges(self) -> Gauges:
        node = self._node
        return Gauges(
            config=node.config,
            chain=node.market.chain,
            contracts=node.market.contracts,
            statements=node.statements,
            book=node.book,
            provider=node.provider,
            draining=node.drain.problem,
            worker_problem=node.worker_problem,
            disk_problem=node.disk_problem,
            chain_problem=lambda: node.chain_status.problem,
            replacements=lambda: int(node.pool.status()["replacements"]),
            metrics=node.metrics,
            least_wei=node.prices.least_wei,
        )

    def _refresher(self) -> Refresher:
        node = self._node
        return Refresher(
            self._gauges.read,
            every_s=GAUGES_EVERY_S,
            clock=node.clock,
            update=node.snapshot.update,
            sooner=self._gauges.obstacles,
        )

    def _ipfs_refresher(self) -> Refresher:
        node = self._node

        async def read() -> dict[str, Any]:
            return {"ipfs": await ipfs_status(node.peer)}

        # Not with the other gauges: the peer's state is true also while the chain does not answer.
        return Refresher(read, every_s=GAUGES_EVERY_S, clock=node.clock, update=node.snapshot.update)

    def _providing(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        node = self._node
        if node.peer is None or not node.config.ipfs.bootstrap:
            return []
        return [("provide", keep_provided(node.peer, node.publisher))]

    def _web(self, token: TokenFile, sessions: Sessions) -> Any:
        node = self._node
        settings = node.config.http
        public = urlsplit(settings.public_url).hostname
        public_urls = (settings.public_url,) if settings.public_url else ()
        drain = node.drain.verbs()
        orders = Orders(partial(drain[DRAIN], {}), partial(drain[RESUME], {}), self._offer_document)
        return build_app(
            node.snapshot,
            gateway_routes(node.store),
            node.metrics,
            node.health,
            callers=Callers(
                token,
                sessions,
                trust_local_user=settings.local_user == "trust",
                own_origins=public_urls,
            ),
            signing_in=SigningIn(sessions, public_urls),
            more=(
                *orders.table(),
                *job_file_table(node.snapshot, partial(_job_lines, node.directory)),
                *gpu_history_table(node.gpus.history.to_json),
            ),
            public_metrics=settings.public_metrics,
            allowed_hosts=(public,) if public else (),
        )


async def _sign_in(sessions: Sessions, _: Arguments) -> dict[str, Any]:
    return {"code": sessions.sign_in_code(), "valid_for_s": SIGN_IN_S}


def _job_lines(directory: Path, job_id: str, limit: int) -> list[LogRecord]:
    return last_records(directory, Wanted(job_id), limit)
