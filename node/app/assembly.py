"""What a node consists of: every room is built here and nowhere else, and nothing runs yet."""

from collections.abc import Sequence

import structlog

from node import __version__
from node.admission.bids import BidGas
from node.admission.disk import JobSizes
from node.app.admitting import Admitting, Surroundings
from node.app.announce import Announcer
from node.app.chain_status import ChainStatus
from node.app.drain import Drain
from node.app.facts import facts
from node.app.gpu_need import configured_need, worker_uid
from node.app.gpus import NO_GPU_TO_USE, GpuRoom, OwnProcesses
from node.app.housekeeping import Housekeeper
from node.app.ipfs import embedded_node
from node.app.key_watching import key_watch
from node.app.metering import MeteredTransactions
from node.app.offering import Offering, models_problem
from node.app.orders import order_handlers
from node.app.parties import OpenMarket
from node.app.publishing import places
from node.app.rendering import is_rendered
from node.app.room import LastingShortage, disk_problem
from node.app.serving import Serving
from node.app.standing import Standing
from node.app.timing import prices_of, run_times
from node.app.tracing import Tracing
from node.app.wallet import transaction_settings
from node.app.workers import worker_pool
from node.chain.signer import Key
from node.chain.twin import RevocableSigner
from node.chain.txmanager import TxManager
from node.clock import SystemClock
from node.config import Config
from node.engine.book import Book
from node.engine.engine import Engine, Handler
from node.engine.forecast import Forecast
from node.engine.gpu_turn import GpuTurn
from node.engine.rivals import Rivals
from node.engine.snapshot import Snapshot
from node.engine.statements import Statements
from node.gpu.probe import NvmlSession
from node.job.effects import EffectKind
from node.job.job import Job
from node.job.modules import NEWEST
from node.job.spec import parse_inputs
from node.journal.copies import CopyLog
from node.journal.database import Database
from node.journal.halts import Halts
from node.journal.journal import Journal
from node.journal.ledger import LedgerJournal
from node.journal.marks import Marks
from node.journal.transactions import TransactionLog
from node.observe.health import Health
from node.observe.metrics import Metrics
from node.observe.systemd import Notifier
from node.publisher.blockstore import BlockStore
from node.publisher.publish import Publisher
from node.publisher.targets.several import Several
from node.web.app import Listener
from node.worker.settings import Place

USUAL = parse_inputs(NEWEST.canonical, ())


class Assembly:
    """Everything one node consists of; nothing runs yet."""

    journal_problem: str | None = None
    """Why the journal waits for its disk, None while it does not."""

    def __init__(
        self,
        config: Config,
        listener: Listener,
        database: Database,
        market: OpenMarket,
        key: Key,
        places_of_workers: Sequence[Place] = (Place(),),
    ) -> None:
        self.config = config
        self.listener = listener
        self.database = database
        self.market = market
        self.provider = key.address
        self.clock = SystemClock()
        self.directory = config.node.directory
        self.jobs_dir = self.directory / "jobs"
        self.jobs_dir.mkdir(parents=True, exist_ok=True)
        self.log = structlog.get_logger()

        self.metrics = Metrics(__version__)
        self.journal = Journal(database, self.clock)
        self.ledger = LedgerJournal(database)
        self.bids = BidGas(self.clock)
        self.halts = Halts(database, self.clock)
        self.statements = Statements(
            self.ledger,
            self.provider,
            config.chain.finality_blocks,
            silence_has_remedy=market.contracts.rules.silence_has_remedy,
        )
        revocable = RevocableSigner(key)
        self.transaction_log = TransactionLog(database)
        self.transactions = TxManager(
            market.chain,
            revocable,
            MeteredTransactions(self.transaction_log, self.metrics, self.bids),
            settings=transaction_settings(config.chain),
            clock=self.clock,
            chain_id=market.contracts.place.chain_id,
        )
        self.times = run_times(
            config, determinism_class=lambda: self.pool.determinism_class, clock=self.clock
        )
        self.prices = prices_of(
            config, self.times, silence_has_remedy=market.contracts.rules.silence_has_remedy
        )
        self.book = Book()
        self.store = BlockStore(
            self.directory / "ipfs", floor_bytes=int(config.admission.min_free_disk_gb * 10**9 / 2)
        )
        self.publisher = Publisher(self.store)
        self.copies = CopyLog(database, self.clock)
        self.peer = embedded_node(config, self.store)
        self.several = Several(
            places(config.ipfs, listener.url, self.peer, self.clock),
            self.store,
            self.copies,
            self.metrics,
            self.clock,
        )
        self.sizes = JobSizes(int(config.admission.initial_job_gb * 10**9))
        self.pool = worker_pool(
            config, places_of_workers, self.metrics, self.clock, lambda place: self.gpus.barred(place.gpu)
        )
        # The weights of workers under another user are theirs to look after.
        self.serving = Serving(config.worker.profile, None if config.worker.elsewhere else self.directory)
        self.forecast = Forecast(self.times, self.book, self.clock, slots=self.slots)
        self.health = Health(self.clock)
        self.health.probe("store", self.store.problem)
        database.listen(self._journal_waits, self.metrics.journal_written)
        self.key_watch = key_watch(
            market,
            revocable,
            database=database,
            halts=self.halts,
            health=self.health,
            metrics=self.metrics,
            poll_interval_s=config.chain.poll_interval_s,
            clock=self.clock,
        )
        self.snapshot = Snapshot(
            book=self.book,
            journal=self.journal,
            transactions=self.transaction_log,
            counters=self.metrics,
            clock=self.clock,
            data_dir=self.directory,
            fixed=facts(config, self.prices, listener.url),
            worker=self.pool.status,
            places=self.several.status,
            statements=self.statements,
            copies=self.copies,
            pursued=self.several.pursued,
            forecast=self.forecast.of,
            run_times=self.times.status,
            operation=Standing(
                self.book,
                self.forecast,
                self.transactions,
                market.rpc,
                journal_problem=lambda: self.journal_problem,
                clock=self.clock,
            ).told,
        )
        own = OwnProcesses(worker_uid(config.worker))
        self.gpus = GpuRoom(
            configured_need(config),
            config.gpu,
            session=NvmlSession(own),
            own=own,
            workers=self.pool,
            open_jobs=self.book.open_jobs,
            expected_s=self._expected_s,
            counters=self.metrics,
            health=self.health,
            clock=self.clock,
            update=self.snapshot.update,
            chosen=config.worker.gpus,
            tended_elsewhere=config.worker.elsewhere,
        )
        self.shortages = (
            LastingShortage(self.disk_problem, self.clock),
            LastingShortage(self.gpus.obstacle, self.clock, NO_GPU_TO_USE),
        )
        self.drain = Drain(Marks(database, self.clock), self.book.open_jobs, self._drain_changed)
        self.announcer = Announcer(
            Offering(
                config=config,
                serving=self.serving,
                place=market.contracts.place,
                provider=self.provider,
                determinism_class=lambda: self.pool.determinism_class,
                ready=lambda: self.pool.ready,
                cards=lambda: self.gpus.cards,
                unusable=self.gpus.obstacle,
                shortage=self._lasting_shortage,
                prices=self.prices,
            ),
            chain=market.chain,
            contracts=market.contracts,
            transactions=self.transactions,
            signer=key,
            publisher=self.publisher,
            marks=Marks(database, self.clock),
            clock=self.clock,
            update=self.snapshot.update,
        )
        self.housekeeper = Housekeeper(
            config.ipfs,
            store=self.store,
            jobs_dir=self.jobs_dir,
            journal=database,
            finality_blocks=config.chain.finality_blocks,
            sizes=self.sizes,
            clock=self.clock,
            update=self.snapshot.update,
        )
        self.chain_status = ChainStatus(self.health, self.metrics, self.snapshot, market.rpc)
        self.admitting = Admitting(
            config,
            self.prices,
            Surroundings(
                market=market,
                provider=self.provider,
                book=self.book,
                ledger=self.ledger,
                rivals=Rivals(self.book.get, self.journal, self.transaction_log),
                bids=self.bids,
                times=self.times,
                forecast=self.forecast,
                slots=self.slots,
                worker_problem=self.worker_problem,
                draining=lambda: self.drain.active,
                unserved=self.serving.unserved,
                job_bytes=self.sizes.of,
                store_problem=lambda: self.store.problem() or self.housekeeper.problem,
                withdrawn=lambda: self.announcer.withdrawn or self._lasting_shortage(),
            ),
        )
        handlers: dict[EffectKind, Handler] = {}
        self.tracing = Tracing(
            config.traces,
            self.journal,
            market=f"{market.contracts.place.chain_id}:{market.contracts.addresses.controller}",
            provider=self.provider,
            clock=self.clock,
        )
        self.engine = Engine(
            self.journal,
            handlers,
            book=self.book,
            observer=self.tracing.beside(self.snapshot),
            clock=self.clock,
        )
        handlers.update(
            order_handlers(
                config,
                market,
                engine=self.engine,
                book=self.book,
                transactions=self.transactions,
                transaction_log=self.transaction_log,
                rivals=self.admitting.rivals,
                publisher=self.publisher,
                several=self.several,
                pool=self.pool,
                snapshot=self.snapshot,
                on_progress=self.tracing.progress(self.snapshot.progressed),
                metrics=self.metrics,
                times=self.times,
                forecast=self.forecast,
                jobs_dir=self.jobs_dir,
                clock=self.clock,
                evaluate=self.admitting.evaluate,
                gpu_turn=GpuTurn(
                    self.gpus,
                    market.chain,
                    self.transaction_log,
                    needs_s=lambda job: (
                        self.times.estimate(job.offer.spec).upper_s + config.ipfs.deadline_margin_s
                    ),
                    begun=lambda job: self.pool.has_begun(job.job_id) or self._rendered(job),
                    on_wait=self.snapshot.job_waits,
                    clock=self.clock,
                    every_s=config.gpu.poll_interval_s,
                ),
            )
        )
        handlers[EffectKind.PUBLISH] = self.housekeeper.counting(handlers[EffectKind.PUBLISH])

    def _drain_changed(self, **told: bool) -> None:
        self.snapshot.update(**told)
        self.announcer.look_again()

    def _rendered(self, job: Job) -> bool:
        return is_rendered(self.jobs_dir / job.job_id, job.offer.spec)

    def _expected_s(self) -> float:
        return self.forecast.new_job_s(USUAL)

    def _lasting_shortage(self) -> str | None:
        # Each is asked every time: what is not asked does not hear for how long something has been lacking.
        return next(filter(None, [shortage.look() for shortage in self.shortages]), None)

    def declines(self) -> str | None:
        """Return why an offer would be declined, as it was found when the node last looked at itself."""
        if self.snapshot.part("accepting") is not False:
            return None
        return "; ".join(self.snapshot.part("not_accepting_because"))

    def slots(self) -> int:
        """Return how many jobs are rendered side by side."""
        return max(1, self.pool.ready_slots)

    def _journal_waits(self, why: str | None) -> None:
        self.journal_problem = why
        self.health.hold(why)
        Notifier().status(why or f"following chain {self.market.contracts.place.chain_id}")

    def disk_problem(self) -> str | None:
        """Return why the disk lets no new work in, or None."""
        return (
            self.journal_problem
            or self.store.problem()
            or self.housekeeper.problem
            or disk_problem(self.config, self.sizes.of(), jobs_ahead=self.book.jobs_ahead())
        )

    def worker_problem(self) -> str | None:
        """Return why nothing can be rendered at this moment, or None."""
        if (problem := models_problem(self.config, self.serving)) is not None:
            return problem
        if (problem := self.gpus.claim_obstacle()) is not None:
            return problem
        if self.pool.ready:
            return None
        status = self.pool.status()
        problem = status.get("problem")
        return f"the worker is not running: {problem}" if problem else "the worker is loading its models"
