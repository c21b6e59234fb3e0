"""What commands open for a while: a market, a requester, the journal of a node that is not running."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.app.delivery import GatewayDelivery
from node.app.rechecking import LocalChecker
from node.app.wallet import guarded, open_wallet, transaction_settings, wallet_address
from node.chain.client import Chain
from node.chain.contracts import MarketContracts, discover
from node.chain.endpoints import EndpointPool
from node.chain.rules import detect_rules
from node.chain.signer import Key
from node.chain.survey import watched
from node.chain.txmanager import TxManager
from node.clock import SystemClock
from node.config import ChainSection, Config
from node.engine.book import Book
from node.engine.snapshot import Snapshot
from node.engine.statements import Statements
from node.errors import Halted, Misconfigured, Retryable, Unreachable
from node.journal.copies import CopyLog
from node.journal.database import Database, InUse
from node.journal.halts import Halts
from node.journal.journal import Journal
from node.journal.ledger import LedgerJournal
from node.journal.transactions import TransactionLog
from node.judging_settings import check_rate
from node.observe.metrics import Metrics
from node.requester.flow import Requester, RequesterSettings
from node.requester.proposals import Limits
from node.requester.provider import ProviderStatus
from node.requester.runs import RunRecords
from node.requester.steps import OnStep, SourceDropped, printable
from node.types import Address


@dataclass(frozen=True, slots=True)
class OpenMarket:
    """A market that was reached and is the one the settings name."""

    rpc: EndpointPool
    chain: Chain
    contracts: MarketContracts


@asynccontextmanager
async def open_market(section: ChainSection) -> AsyncIterator[OpenMarket]:
    """Connect, and check that chain and contracts are the ones the settings name.

    Raises Misconfigured for a missing setting, a wrong chain id, a wrong controller or a market of unknown
    rules; Unreachable if the endpoint does not answer.
    """
    if not section.rpc_urls or not section.controller:
        raise Misconfigured(
            "no market is set: set chain.network (see networks.toml), or chain.rpc_urls and chain.controller"
        )
    pool = EndpointPool(section.rpc_urls, chain_id=section.chain_id, timeout_s=section.rpc_timeout_s)
    try:
        try:
            found = await pool.open()
        except Unreachable as error:
            raise Unreachable(f"{error}: check chain.rpc_urls and that the endpoint is up") from error
        async with watched(pool, depth=section.confirmations):
            chain = Chain(pool)
            addresses = await discover(chain, Address(section.controller))
            if section.token and addresses.token != section.token:
                raise Misconfigured(
                    f"the market at {section.controller} pays in {addresses.token}, not in {section.token}: "
                    "check chain.controller, or chain.token if the other token is wanted"
                )
            rules = await detect_rules(chain, addresses)
            yield OpenMarket(pool, chain, MarketContracts(chain, addresses, found, rules))
    finally:
        await pool.close()


async def refuse_while_halted(halts: Halts) -> None:
    """Raise Halted, with the way on, while a halt stands."""
    reason = await halts.standing()
    if reason is not None:
        way_on = "" if "sdv-node resume" in reason else ". When that is settled: sdv-node resume"
        raise Halted(f"the node halted itself: {reason}{way_on}")


@dataclass(frozen=True, slots=True)
class OpenWallet:
    """The operator's wallet, with the journal that remembers what it signed for."""

    key: Key
    """Behind the signing policy."""
    transactions: TxManager
    database: Database


@asynccontextmanager
async def spending_wallet(
    config: Config, market: OpenMarket, directory: Path | None = None, *, key: Key | None = None
) -> AsyncIterator[OpenWallet]:
    """Open the operator's wallet for spending, with the journal of ``directory`` (the node's own if None).

    ``key`` is the opened wallet, if it is opened already. Raises Halted while a halt of that journal stands:
    its transactions would be followed and signed for again.
    """
    key = key or open_wallet(config)
    database = Database(directory or config.node.directory)
    try:
        await refuse_while_halted(Halts(database, SystemClock()))
        key = guarded(key, config, market.contracts, database)
        transactions = TxManager(
            market.chain,
            key,
            TransactionLog(database),
            settings=transaction_settings(config.chain),
            clock=SystemClock(),
            chain_id=market.contracts.place.chain_id,
        )
        await transactions.resume()
        try:
            yield OpenWallet(key, transactions, database)
        finally:
            await transactions.close()
    finally:
        database.close()


@asynccontextmanager
async def _requester_transactions(
    config: Config, market: OpenMarket, key: Key | None
) -> AsyncIterator[TxManager]:
    try:
        opened = spending_wallet(config, market, config.node.directory / "requester", key=key)
        wallet = await opened.__aenter__()
    except InUse as error:
        # Two runs would overwrite each other's allowance, so another data directory is no way out.
        raise Retryable("another run of this wallet is under way: wait until it ends") from error
    try:
        yield wallet.transactions
    finally:
        await opened.__aexit__(None, None, None)


@asynccontextmanager
async def requester(config: Config, *, on_step: OnStep, key: Key | None = None) -> AsyncIterator[Requester]:
    """Open the job creator's side: its own journal, the operator's wallet, the market.

    ``key`` is the opened wallet, if it is opened already.
    """
    clock = SystemClock()
    directory = config.node.directory
    async with (
        open_market(config.chain) as market,
        _requester_transactions(config, market, key) as transactions,
    ):
        status = ProviderStatus(config.reach)

        def tell_drop(source: str, problem: str) -> None:
            on_step(SourceDropped(printable(source), printable(problem)))

        peer_dir = directory / "requester" if config.ipfs.enabled else None
        delivery = GatewayDelivery(config.reach, peer_dir, tell_drop)
        try:
            mediators = frozenset(config.market.mediators) or None
            yield Requester(
                address=wallet_address(config),
                chain=market.chain,
                contracts=market.contracts,
                transactions=transactions,
                delivery=delivery,
                documents=delivery,
                provider_status=status,
                records=RunRecords(directory),
                settings=RequesterSettings(
                    data_dir=directory,
                    limits=Limits(max_price_wei=config.requester.max_price, mediators=mediators),
                    confirmations=config.chain.confirmations,
                    reach=config.reach,
                    matching=config.requester.matching,
                    wait_for_proposals_s=config.requester.wait_for_proposals_s,
                    gather_s=config.requester.gather_proposals_s,
                    poll_interval_s=config.chain.poll_interval_s,
                    gateways=config.requester.gateways,
                    check_rate=check_rate(config.requester.check),
                    check_by=config.requester.check_by,
                ),
                checker=LocalChecker(config),
                clock=clock,
                on_step=on_step,
            )
        finally:
            await status.close()


@contextmanager
def open_halts(config: Config) -> Iterator[Halts]:
    """Open what a stopped node wrote about why it halted. Raises InUse while the node runs."""
    database = Database(config.node.directory)
    try:
        yield Halts(database, SystemClock())
    finally:
        database.close()


def _account(config: Config) -> Address | None:
    try:
        return wallet_address(config)
    except Misconfigured:
        return None


class NodeNotRunning(Unreachable):
    """No node answers and there is no journal to read instead."""


@asynccontextmanager
async def journal_reader(config: Config, unreachable: Unreachable) -> AsyncIterator[Snapshot]:
    """Open the journal of a node that is not running, as the same snapshots the running one gives."""
    directory: Path = config.node.directory
    if not (directory / "journal.sqlite").exists():
        raise NodeNotRunning(f"{unreachable}; there is no journal in {directory} either") from unreachable
    database = Database(directory)
    try:
        clock = SystemClock()
        journal = Journal(database, clock)
        nothing: dict[str, Any] = {}
        yield Snapshot(
            book=Book(),
            journal=journal,
            transactions=TransactionLog(database),
            counters=Metrics("offline"),
            clock=clock,
            data_dir=directory,
            fixed=nothing,
            worker=lambda: nothing,
            places=list,
            copies=CopyLog(database, clock),
            statements=Statements(LedgerJournal(database), _account(config), config.chain.finality_blocks),
        )
    finally:
        database.close()
