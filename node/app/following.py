"""Builds what follows the chain: reader, feed, and the ways back after a reorganisation or a withheld log."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from node.admission.intake import Intake, IntakeTerms
from node.admission.places import Places
from node.app.parties import OpenMarket, refuse_while_halted
from node.app.timing import Prices
from node.chain.events import MARKET_TOPICS
from node.chain.logs import ConfirmedLogs, Cursor
from node.clock import Clock
from node.config import Config
from node.engine.book import Book
from node.engine.engine import Engine
from node.engine.follow import Follower
from node.engine.reconcile import Reconciler
from node.engine.rewinder import Rewinder
from node.engine.settled import SettledCheck
from node.errors import Misconfigured, Unreachable
from node.job.events import Offer
from node.job.modules import resolve_module
from node.job.sifting import Sifted
from node.journal.halts import Halts
from node.journal.journal import Journal
from node.journal.records import CursorRow
from node.journal.transactions import TransactionLog
from node.market.batch import FeedBatch
from node.market.feed import MarketFeed, OfferGate, OfferPolicy
from node.market.hires import DirectHires
from node.market.own_deals import OwnDeals
from node.market.posted import PostedJobs
from node.types import Address


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who hears of what is read."""

    on_batch: Callable[[FeedBatch], None]
    on_trouble: Callable[[str | None], None]
    follow_transactions: Callable[[], Awaitable[None]]


async def may_start(config: Config, market: OpenMarket, journal: Journal, halts: Halts) -> None:
    """Check that the journal is of this chain and that no halt stands. Raises Misconfigured, Halted."""
    genesis = await market.chain.block(0)
    if genesis is None:
        raise Unreachable("the RPC endpoint does not give block 0, by which a chain is known")
    bound = await journal.bind(CursorRow(genesis.number, genesis.hash))
    if bound.block_hash != genesis.hash:
        raise Misconfigured(
            f"the journal in {config.node.directory} belongs to another chain than the one at "
            f"{market.rpc.name}: use another --data-dir, or the endpoint of that chain"
        )
    await refuse_while_halted(halts)


class Door:
    """What offers pass before they become jobs, by the settings in force when they come."""

    def __init__(
        self, config: Config, market: OpenMarket, book: Book, provider: Address, prices: Prices
    ) -> None:
        self._market = market
        self._book = book
        self._provider = provider
        self._intake = self.built(config, prices)

    def built(self, config: Config, prices: Prices) -> Intake:
        """Return the intake that goes by these settings and prices, for ``take_over``."""
        admission = config.admission
        return Intake(
            self._market.chain,
            self._market.contracts,
            self._book.waiting,
            IntakeTerms(
                places=Places(admission.max_waiting_offers, admission.max_waiting_offers_per_requester),
                standing=prices.standing,
                own_prices=prices.own,
                provider=self._provider,
                deny=frozenset(admission.deny),
            ),
        )

    def take_over(self, intake: Intake) -> None:
        """Sift by it what comes from now on."""
        self._intake = intake

    async def sift(self, offers: Sequence[Offer]) -> Sifted:
        """Return which offers are left out, as ``Intake.sift`` does."""
        return await self._intake.sift(offers)


async def build_follower(
    config: Config,
    market: OpenMarket,
    *,
    journal: Journal,
    halts: Halts,
    engine: Engine,
    book: Book,
    transactions: TransactionLog,
    provider: Address,
    gate: OfferGate,
    listeners: Listeners,
    clock: Clock,
) -> Follower:
    """Recover the engine and return the follower that reads on from where the journal stands."""
    cursor = await engine.recover()
    addresses = market.contracts.addresses
    head = await market.chain.head()
    start_block = max(0, head.number - config.chain.lookback_blocks)
    source = ConfirmedLogs(
        market.chain,
        (addresses.job_manager, addresses.storage, addresses.payments, addresses.mediation),
        MARKET_TOPICS,
        confirmations=config.chain.confirmations,
        cursor=Cursor(cursor.block_number, cursor.block_hash) if cursor else None,
        start_block=start_block,
    )
    modules = frozenset(resolve_module(name).canonical for name in config.market.modules)
    feed = MarketFeed(
        source,
        market.chain,
        provider=provider,
        policy=OfferPolicy(
            modules=modules,
            max_age_s=config.admission.max_offer_age_s,
        ),
        gate=gate,
        own_deals=OwnDeals(book.known_deal, book.get, market.contracts),
        hires=_hires(config, market, journal, provider, modules),
        let_go=book.let_go,
        orphaned=book.orphaned,
    )
    rewinder = Rewinder(
        headers=market.chain,
        agreements=market.contracts,
        positions=journal,
        halts=halts,
        post=engine.post,
        follow_transactions=listeners.follow_transactions,
        finality_blocks=config.chain.finality_blocks,
        start_block=start_block,
    )
    reconciler = Reconciler(
        agreements=market.contracts, open_jobs=book.open_jobs, checkpoints=journal.checkpoints
    )
    return Follower(
        feed,
        engine,
        rewinder=rewinder,
        reconciler=reconciler,
        settled=SettledCheck(market.chain, transactions, listeners.follow_transactions),
        read_up_to=cursor.block_number if cursor else None,
        poll_interval_s=config.chain.poll_interval_s,
        clock=clock,
        on_batch=listeners.on_batch,
        on_trouble=listeners.on_trouble,
        pause=market.rpc.bell.wait,
    )


def _hires(
    config: Config, market: OpenMarket, journal: Journal, provider: Address, modules: frozenset[str]
) -> DirectHires:
    contracts = market.contracts
    posted = PostedJobs(journal, market.chain, job_manager=contracts.addresses.job_manager, modules=modules)
    # Terms are exact, so nobody can wait longer for this node to agree than its own terms say.
    return DirectHires(
        contracts,
        posted,
        provider=provider,
        market=contracts.place,
        max_age_s=config.deal.agree_timeout_s,
    )
