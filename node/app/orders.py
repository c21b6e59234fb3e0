"""Which room carries out which order of the engine."""

from collections.abc import Callable
from pathlib import Path

from node.admission.run_times import RunTimes
from node.app.parties import OpenMarket
from node.app.publishing import FailurePublisher, copy_policy
from node.chain.txmanager import TxManager
from node.clock import Clock
from node.config import Config
from node.engine.book import Book
from node.engine.engine import Engine, Handler
from node.engine.forecast import Forecast
from node.engine.gpu_turn import GpuTurn
from node.engine.publishing import Publishing
from node.engine.rendering import Rendering
from node.engine.rivals import Rivals
from node.engine.snapshot import Snapshot
from node.job.effects import EffectKind
from node.job.progress import Progress
from node.journal.transactions import TransactionLog
from node.market.proposals import Proposals
from node.observe.metrics import Metrics
from node.publisher.publish import Publisher
from node.publisher.targets.several import Several
from node.settlement.claims import Claims
from node.settlement.escrow import EscrowWatch
from node.settlement.submission import Submission
from node.types import JobId
from node.worker.pool import WorkerPool


def order_handlers(
    config: Config,
    market: OpenMarket,
    *,
    engine: Engine,
    book: Book,
    transactions: TxManager,
    transaction_log: TransactionLog,
    rivals: Rivals,
    publisher: Publisher,
    several: Several,
    pool: WorkerPool,
    snapshot: Snapshot,
    metrics: Metrics,
    times: RunTimes,
    forecast: Forecast,
    jobs_dir: Path,
    clock: Clock,
    evaluate: Handler,
    gpu_turn: GpuTurn,
    on_progress: Callable[[JobId, Progress], None],
) -> dict[EffectKind, Handler]:
    """Return the handler of every kind of order; GPUs and, where it can drain, escrow are watched."""
    contracts, chain = market.contracts, market.chain
    proposals = Proposals(contracts, transactions, transaction_log, chain)
    rendering = Rendering(pool, engine.post, on_progress, jobs_dir, times, forecast, clock, metrics.taken)
    publishing = Publishing(
        publisher,
        several,
        chain,
        policy=copy_policy(config.ipfs),
        margin_s=config.ipfs.deadline_margin_s,
        jobs_dir=jobs_dir,
        clock=clock,
        on_published=metrics.published,
        on_wait=snapshot.job_waits,
    )
    failures = FailurePublisher(publisher, several)
    submission = Submission(contracts, transactions, chain, failures, jobs_dir, rules=contracts.rules)
    claims = Claims(contracts, transactions, contracts.rules)
    orders: dict[EffectKind, Handler] = {
        EffectKind.EVALUATE: evaluate,
        EffectKind.PROPOSE: gpu_turn.claiming(rivals.proposing(proposals.agree)),
        EffectKind.AGREE: gpu_turn.claiming(proposals.agree),
        EffectKind.WITHDRAW: proposals.withdraw,
        EffectKind.RENDER: rivals.rendering(gpu_turn.starting(rendering.render)),
        EffectKind.PUBLISH: publishing.publish,
        EffectKind.SUBMIT_RESULT: submission.submit_result,
        EffectKind.SUBMIT_FAILURE: submission.submit_failure,
        EffectKind.CLAIM_JUDGE_TIMEOUT: claims.claim_judge_timeout,
        EffectKind.CLAIM_MEDIATION_TIMEOUT: claims.claim_mediation_timeout,
    }
    if contracts.rules.escrow_can_drain:
        watch = EscrowWatch(
            contracts,
            chain,
            open_jobs=book.open_jobs,
            # What lost its nonce to a foreign transaction was never sent: the sender knows, the log does not.
            intents=transactions,
            shelf=publisher,
            clock=clock,
            every_s=config.deal.escrow_check_s,
        )
        orders[EffectKind.RENDER] = watch.throughout(orders[EffectKind.RENDER])
        for kind in (EffectKind.PUBLISH, EffectKind.SUBMIT_RESULT):
            orders[kind] = watch.before(orders[kind])
    return orders
