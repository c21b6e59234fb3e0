"""The provider node: builds every room, wires them, starts them in order and stops them in reverse."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter

from node import __version__
from node.admission.evaluate import Admission, Exposure, Terms
from node.app.announce import announce
from node.app.chain_status import ChainStatus
from node.app.gauges import Gauges
from node.app.metering import MeteredTransactions
from node.app.parties import OpenMarket, open_market, open_wallet, transaction_settings
from node.app.serving import Serving
from node.chain.events import MARKET_TOPICS
from node.chain.logs import ConfirmedLogs, Cursor
from node.chain.signer import LocalSigner
from node.chain.txmanager import TxManager
from node.clock import SystemClock
from node.config import Config
from node.engine.book import Book
from node.engine.engine import Engine, Handler
from node.engine.follow import Follower, Refresher
from node.engine.rendering import Publishing, Rendering, RunTimes
from node.engine.snapshot import Snapshot
from node.errors import Misconfigured, Retryable, Unreachable
from node.job.effects import EffectKind
from node.job.modules import resolve_module
from node.journal.database import Database
from node.journal.journal import Journal
from node.journal.records import CursorRow
from node.journal.transactions import TransactionLog
from node.market.feed import MarketFeed, OfferPolicy
from node.market.proposals import Proposals
from node.observe.health import Health
from node.observe.metrics import Metrics
from node.observe.systemd import Notifier, feed_watchdog
from node.publisher.blockstore import BlockStore
from node.publisher.gateway import gateway_routes
from node.publisher.publish import Publisher
from node.settlement.claims import Claims
from node.settlement.submission import Submission
from node.types import Address
from node.web.app import Listener, build_app, listen, serve_on
from node.worker.pool import WorkerPool, is_toy
from node.worker.settings import WorkerSettings

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
) -> None:
    """Run the node until ``shutdown`` is set.

    Raises the NodeError that keeps it from starting or going on, possibly inside an exception group.
    """
    directory = config.node.directory
    listener = listen(config.http.host, config.http.port)
    try:
        database = Database(directory)
    except BaseException:
        listener.socket.close()
        raise
    try:
        async with open_market(config.chain) as market:
            signer = open_wallet(config)
            await _Wiring(config, listener, database, market, signer).run(shutdown, on_ready)
    finally:
        listener.socket.close()
        database.close()


class _Wiring:
    """Everything one node consists of."""

    def __init__(
        self,
        config: Config,
        listener: Listener,
        database: Database,
        market: OpenMarket,
        signer: LocalSigner,
    ) -> None:
        self.config = config
        self.listener = listener
        self.market = market
        self.provider = signer.address
        self.clock = SystemClock()
        self.directory = config.node.directory
        self.jobs_dir = self.directory / "jobs"
        self.jobs_dir.mkdir(parents=True, exist_ok=True)
        self.log = structlog.get_logger()

        self.metrics = Metrics(__version__)
        self.journal = Journal(database, self.clock)
        self.transaction_log = TransactionLog(database)
        self.transactions = TxManager(
            market.chain,
            signer,
            MeteredTransactions(self.transaction_log, self.metrics),
            settings=transaction_settings(config.chain),
            clock=self.clock,
            chain_id=market.contracts.place.chain_id,
        )
        self.book = Book()
        self.store = BlockStore(
            self.directory / "ipfs", floor_bytes=int(config.admission.min_free_disk_gb * 10**9 / 2)
        )
        self.publisher = Publisher(self.store)
        self.pool = WorkerPool(
            profile=config.worker.profile,
            data_dir=self.directory,
            settings=WorkerSettings(
                residency=config.worker.residency,
                load_s=config.worker.load_timeout_s,
                progress_s=config.worker.progress_timeout_s,
                job_s=config.worker.job_timeout_s,
            ),
            clock=self.clock,
        )
        self.serving = Serving(config.worker.profile, self.directory)
        self.times = RunTimes(config.admission.initial_job_s)
        self.health = Health(self.clock)
        self.snapshot = Snapshot(
            book=self.book,
            journal=self.journal,
            transactions=self.transaction_log,
            counters=self.metrics,
            clock=self.clock,
            data_dir=self.directory,
            fixed={
                "version": __version__,
                "gateway_url": config.http.public_url or listener.url,
                "public_gateway": config.http.public_gateway,
                "price_wei": str(max(config.pricing.floor, config.pricing.per_job)),
                "modules": list(config.market.modules),
            },
            worker=self.pool.status,
        )
        self.chain_status = ChainStatus(self.health, self.metrics, self.snapshot)
        handlers: dict[EffectKind, Handler] = {}
        self.engine = Engine(self.journal, handlers, book=self.book, observer=self.snapshot, clock=self.clock)
        handlers.update(self._handlers())

    def _handlers(self) -> Mapping[EffectKind, Handler]:
        contracts, chain = self.market.contracts, self.market.chain
        config = self.config
        admission = Admission(
            chain,
            contracts,
            self._exposure,
            Terms(
                limits=config.admission,
                pricing=config.pricing,
                deal=config.deal,
                mediators=config.market.mediators,
                provider=self.provider,
                market=contracts.place,
                payments=contracts.addresses.payments,
                data_dir=self.directory,
                unserved=self.serving.unserved,
            ),
        )
        proposals = Proposals(contracts, self.transactions, self.transaction_log, chain)
        rendering = Rendering(
            self.pool, self.engine.post, self.snapshot.progressed, self.jobs_dir, self.times, self.clock
        )
        publishing = Publishing(self.publisher, self.jobs_dir, self.clock, self.metrics.published)
        submission = Submission(contracts, self.transactions, chain, self.publisher, self.jobs_dir)
        claims = Claims(contracts, self.transactions)
        return {
            EffectKind.EVALUATE: admission.evaluate,
            EffectKind.PROPOSE: proposals.propose,
            EffectKind.WITHDRAW: proposals.withdraw,
            EffectKind.RENDER: rendering.render,
            EffectKind.PUBLISH: publishing.publish,
            EffectKind.SUBMIT_RESULT: submission.submit_result,
            EffectKind.SUBMIT_FAILURE: submission.submit_failure,
            EffectKind.CLAIM_JUDGE_TIMEOUT: claims.claim_judge_timeout,
            EffectKind.CLAIM_MEDIATION_TIMEOUT: claims.claim_mediation_timeout,
        }

    async def run(self, shutdown: asyncio.Event, on_ready: Callable[[RunningNode], None]) -> None:
        """Start in order, run until told to stop, stop what takes new work first."""
        notifier = Notifier()
        stop_web = asyncio.Event()
        follower = await self._follower()
        symbol = await self.market.contracts.token_symbol()
        self.chain_status.connected(self.market.contracts, symbol)
        await self.transactions.resume()
        await self.pool.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(serve_on(self._web(), self.listener, stop_web), name="web")
                working = [
                    tasks.create_task(work, name=name)
                    for name, work in (
                        ("engine", self.engine.run()),
                        ("follower", follower.run()),
                        ("gauges", self._refresher().run()),
                        ("watchdog", feed_watchdog(notifier, lambda: self.health.live().ok, self.clock)),
                        ("announce", self._announce()),
                    )
                ]
                self.health.started()
                notifier.ready(f"following chain {self.market.contracts.place.chain_id}")
                on_ready(RunningNode(self.listener.url, self.provider, self.snapshot, self.pool))
                self.log.info("node_started", url=self.listener.url, address=self.provider)
                await shutdown.wait()
                self.log.info("node_stopping")
                notifier.stopping("stopping")
                self.health.stopping()
                for task in working:
                    task.cancel()
                stop_web.set()
        finally:
            await self.transactions.close()
            await self.pool.stop()

    async def _follower(self) -> Follower:
        await self._check_chain()
        cursor = await self.engine.recover()
        await self.snapshot.restore()
        addresses = self.market.contracts.addresses
        head = await self.market.chain.head()
        source = ConfirmedLogs(
            self.market.chain,
            (addresses.job_manager, addresses.storage, addresses.payments, addresses.mediation),
            MARKET_TOPICS,
            confirmations=self.config.chain.confirmations,
            cursor=Cursor(cursor.block_number, cursor.block_hash) if cursor else None,
            start_block=max(0, head.number - self.config.chain.lookback_blocks),
        )
        feed = MarketFeed(
            source,
            self.market.chain,
            provider=self.provider,
            policy=OfferPolicy(
                modules=frozenset(resolve_module(name).canonical for name in self.config.market.modules),
                max_age_s=self.config.admission.max_offer_age_s,
            ),
            known_deal=self.book.known_deal,
        )
        return Follower(
            feed,
            self.engine,
            poll_interval_s=self.config.chain.poll_interval_s,
            clock=self.clock,
            on_batch=self.chain_status.read_up_to,
            on_trouble=self.chain_status.trouble,
        )

    async def _check_chain(self) -> None:
        genesis = await self.market.chain.block(0)
        if genesis is None:
            raise Unreachable("the RPC endpoint does not give block 0, by which a chain is known")
        bound = await self.journal.bind(CursorRow(genesis.number, genesis.hash))
        if bound.block_hash != genesis.hash:
            raise Misconfigured(
                f"the journal in {self.directory} belongs to another chain than the one at "
                f"{self.market.rpc.name}: use another --data-dir, or the endpoint of that chain"
            )

    def _refresher(self) -> Refresher:
        gauges = Gauges(
            config=self.config,
            chain=self.market.chain,
            contracts=self.market.contracts,
            journal=self.journal,
            provider=self.provider,
            worker_problem=self._worker_problem,
            chain_problem=lambda: self.chain_status.problem,
            replacements=lambda: int(self.pool.status()["replacements"]),
            metrics=self.metrics,
        )
        return Refresher(gauges.read, every_s=GAUGES_EVERY_S, clock=self.clock, update=self.snapshot.update)

    def _web(self) -> Any:
        public = urlsplit(self.config.http.public_url).hostname
        return build_app(
            self.snapshot,
            gateway_routes(self.store),
            self.metrics,
            self.health,
            allowed_hosts=(public,) if public else (),
        )

    async def _announce(self) -> None:
        url = self.config.http.public_url
        if not url:
            self.log.warning("not_announced", remedy="set http.public_url so that requesters find results")
            return
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(Retryable),
            wait=wait_exponential_jitter(multiplier=1.0, max=60.0),
            sleep=self.clock.sleep,
        )
        async for attempt in attempts:
            with attempt:
                await announce(
                    url,
                    chain=self.market.chain,
                    contracts=self.market.contracts,
                    transactions=self.transactions,
                    provider=self.provider,
                )

    def _exposure(self, requester: Address) -> Exposure:
        return Exposure(
            open_deals=self.book.open_deals(),
            open_proposals_of_requester=self.book.proposals_to(requester),
            committed_wei=self.book.committed_wei(),
            jobs_ahead=self.book.jobs_ahead(),
            job_estimate_s=self.times.estimate_s,
            worker_problem=self._worker_problem(),
            paused=False,
        )

    def _worker_problem(self) -> str | None:
        if not self.config.market.allow_toy_models and is_toy(self.config.worker.profile):
            return (
                f"profile {self.config.worker.profile} has toy models: set worker.profile to one with real "
                "weights, or market.allow_toy_models on a private market"
            )
        if (problem := self.serving.problem()) is not None:
            return f"profile {self.config.worker.profile} is not complete: {problem}"
        if self.pool.ready:
            return None
        status = self.pool.status()
        problem = status.get("problem")
        return f"the worker is not running: {problem}" if problem else "the worker is loading its models"
