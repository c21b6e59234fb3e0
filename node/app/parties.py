"""What commands open for a while: a market, a requester, the journal of a node that is not running."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.app.delivery import GatewayDelivery
from node.chain.client import Chain
from node.chain.contracts import MarketContracts, discover
from node.chain.fees import GWEI, TxSettings
from node.chain.keystore import keystore_address, load_signer
from node.chain.rpc import Rpc
from node.chain.signer import LocalSigner
from node.chain.txmanager import TxManager
from node.clock import SystemClock
from node.config import ChainSection, Config
from node.engine.book import Book
from node.engine.snapshot import Snapshot
from node.errors import Misconfigured, Retryable, Unreachable
from node.journal.database import Database, InUse
from node.journal.journal import Journal
from node.journal.transactions import TransactionLog
from node.observe.metrics import Metrics
from node.requester.flow import Requester, RequesterSettings
from node.requester.proposals import Limits
from node.requester.provider import ProviderStatus
from node.requester.runs import RunRecords
from node.requester.steps import OnStep
from node.types import Address, Wei


@dataclass(frozen=True, slots=True)
class OpenMarket:
    """A market that was reached and is the one the settings name."""

    rpc: Rpc
    chain: Chain
    contracts: MarketContracts


@asynccontextmanager
async def open_market(section: ChainSection) -> AsyncIterator[OpenMarket]:
    """Connect, and check that chain and contracts are the ones the settings name.

    Raises Misconfigured for a missing setting, a wrong chain id or a wrong controller; Unreachable if the
    endpoint does not answer.
    """
    if not section.rpc_url or not section.controller:
        raise Misconfigured(
            "no market is set: set chain.network (see networks.toml), or chain.rpc_url and chain.controller"
        )
    rpc = Rpc(section.rpc_url)
    try:
        chain = Chain(rpc)
        try:
            found = await chain.chain_id()
        except Unreachable as error:
            raise Unreachable(f"{error}: check chain.rpc_url and that the endpoint is up") from error
        if section.chain_id and found != section.chain_id:
            raise Misconfigured(
                f"the RPC endpoint serves chain {found}, not chain {section.chain_id}: "
                "check chain.rpc_url and chain.chain_id"
            )
        addresses = await discover(chain, Address(section.controller))
        yield OpenMarket(rpc, chain, MarketContracts(chain, addresses, found))
    finally:
        await rpc.close()


def open_wallet(config: Config) -> LocalSigner:
    """Decrypt the operator's key. Raises Misconfigured, saying which file is missing or wrong."""
    keystore = config.keystore_path
    if not keystore.exists():
        raise Misconfigured(f"there is no key at {keystore}: make one with sdv-node wallet new")
    password = config.password_path
    if password is None:
        raise Misconfigured(
            "the keystore needs its password: set wallet.password_file to a file that only you can read"
        )
    return load_signer(keystore, password)


def transaction_settings(section: ChainSection) -> TxSettings:
    """Return how transactions are paid for, from the settings in gwei."""
    tip = max(1, int(section.min_tip_gwei * GWEI))
    cap = int(section.max_fee_gwei * GWEI)
    defaults = TxSettings()
    return TxSettings(
        confirmations=section.confirmations,
        poll_interval_s=section.poll_interval_s,
        resubmit_after_s=section.resubmit_after_s,
        tip_floor_wei=Wei(min(tip, cap)),
        max_fee_floor_wei=Wei(min(max(defaults.max_fee_floor_wei, tip), cap)),
        max_fee_cap_wei=Wei(cap),
    )


@asynccontextmanager
async def wallet_transactions(
    config: Config, market: OpenMarket, directory: Path | None = None
) -> AsyncIterator[TxManager]:
    """Open the operator's wallet for spending, with the journal of ``directory`` (the node's own if None)."""
    signer = open_wallet(config)
    database = Database(directory or config.node.directory)
    transactions = TxManager(
        market.chain,
        signer,
        TransactionLog(database),
        settings=transaction_settings(config.chain),
        clock=SystemClock(),
        chain_id=market.contracts.place.chain_id,
    )
    try:
        await transactions.resume()
        yield transactions
    finally:
        await transactions.close()
        database.close()


@asynccontextmanager
async def _requester_transactions(config: Config, market: OpenMarket) -> AsyncIterator[TxManager]:
    try:
        opened = wallet_transactions(config, market, config.node.directory / "requester")
        transactions = await opened.__aenter__()
    except InUse as error:
        # Two runs would overwrite each other's allowance, so another data directory is no way out.
        raise Retryable("another run of this wallet is under way: wait until it ends") from error
    try:
        yield transactions
    finally:
        await opened.__aexit__(None, None, None)


@asynccontextmanager
async def requester(config: Config, *, on_step: OnStep) -> AsyncIterator[Requester]:
    """Open the job creator's side: its own journal, the operator's wallet, the market."""
    clock = SystemClock()
    directory = config.node.directory
    async with (
        open_market(config.chain) as market,
        _requester_transactions(config, market) as transactions,
    ):
        status = ProviderStatus()
        try:
            mediators = frozenset(config.market.mediators) or None
            yield Requester(
                address=keystore_address(config.keystore_path),
                chain=market.chain,
                contracts=market.contracts,
                transactions=transactions,
                delivery=GatewayDelivery(),
                provider_status=status,
                records=RunRecords(directory),
                settings=RequesterSettings(
                    data_dir=directory,
                    limits=Limits(max_price_wei=config.requester.max_price, mediators=mediators),
                    confirmations=config.chain.confirmations,
                    wait_for_proposals_s=config.requester.wait_for_proposals_s,
                    gather_s=config.requester.gather_proposals_s,
                    poll_interval_s=config.chain.poll_interval_s,
                ),
                clock=clock,
                on_step=on_step,
            )
        finally:
            await status.close()


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
        )
    finally:
        database.close()
