"""The money of a node for its commands, whether it runs or not: the journal's side, and the wallet's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from node.admission.counterparties import Standing, refusals, unpaid_by
from node.app.parties import OpenMarket, open_market
from node.app.wallet import wallet_address
from node.chain.reverts import Reverted
from node.config import AdmissionSection, Config
from node.engine.book import Book
from node.errors import NodeError
from node.journal.database import Database, InUse
from node.journal.ledger import LedgerJournal
from node.journal.reading import ReadOnlyDatabase
from node.settlement.claimable import claims_of, due_wei
from node.settlement.ledger import Sums, fold
from node.types import Address, Wei


class NoJournal(NodeError):
    """There is nothing to read: the node has never been started with this data directory."""


def own_account(config: Config) -> Address:
    """Return the account whose money this is. Raises Misconfigured if there is no key yet."""
    return wallet_address(config)


@asynccontextmanager
async def ledger_journal(config: Config) -> AsyncIterator[LedgerJournal]:
    """Open the journal for reading. Raises NoJournal if there is none yet, Fatal if it cannot be read."""
    directory = config.node.directory
    if not (directory / "journal.sqlite").exists():
        raise NoJournal(f"there is no journal in {directory}: start the node first, or set --data-dir")
    try:
        database: Database | ReadOnlyDatabase = Database(directory)
    except InUse:
        database = ReadOnlyDatabase(directory)
    try:
        yield LedgerJournal(database)
    finally:
        database.close()


async def counterparties(
    ledger: LedgerJournal, account: Address, limits: AdmissionSection
) -> list[dict[str, Any]]:
    """Return every account we met, those with most deals first, and why its next offer would be declined."""
    sums = fold(account, await ledger.postings(payee=account), await ledger.gas()).by_counterparty
    jobs = await ledger.open_jobs()
    found = []
    for requester, record in (await ledger.records()).items():
        deals, owed = unpaid_by(requester, jobs)
        against = refusals(Standing(requester, record, deals, owed, Wei(0)), limits)
        found.append(
            {
                "account": requester,
                **record.to_json(),
                "unpaid_wei": str(owed),
                **sums.get(requester, Sums()).to_json(),
                "declined_because": against[0].reason if against else None,
            }
        )
    return sorted(found, key=lambda one: (-int(str(one["deals"])), str(one["account"])))


async def wallet_money(config: Config) -> dict[str, Any]:
    """Return what the wallet owns, what deals hold of it, what is due to it, and what it has promised.

    Raises Unreachable while the chain does not answer.
    """
    account = own_account(config)
    async with open_market(config.chain) as market:
        head, owned = await asyncio.gather(market.chain.head(), _owned(market, account))
        remedy = market.contracts.rules.silence_has_remedy
    held = await _held(config, account, head.timestamp, remedy=remedy)
    return {"address": account, **owned, **held}


async def _owned(market: OpenMarket, account: Address) -> dict[str, Any]:
    contracts = market.contracts
    symbol, gas, tokens, allowance, credit = await asyncio.gather(
        contracts.token_symbol(),
        market.chain.balance(account),
        contracts.token_balance(account),
        contracts.token_allowance(account, contracts.addresses.payments),
        uncollected(market, account),
    )
    return {
        "symbol": symbol,
        "gas_wei": str(gas),
        "token_wei": str(tokens),
        "allowance_wei": str(allowance),
        "credit_wei": str(credit),
    }


async def uncollected(market: OpenMarket, account: Address) -> Wei:
    """Return what the token did not deliver to an account and the market keeps for it."""
    try:
        return await market.contracts.credit(account)
    except Reverted:
        # Other deployments have no such function: there a transfer that fails stops the settlement itself.
        return Wei(0)


async def _held(config: Config, account: Address, chain_time: int, *, remedy: bool) -> dict[str, Any]:
    try:
        async with ledger_journal(config) as ledger:
            sums = fold(account, await ledger.postings(payee=account), await ledger.gas()).total
            jobs = await ledger.open_jobs()
    except NoJournal:
        sums, jobs = Sums(), []
    book = Book()
    for job in jobs:
        book.put(job, 0.0)
    claims = claims_of(jobs, silence_has_remedy=remedy)
    return {
        "locked": {
            "timeout_wei": str(sums.locked_timeout_wei),
            "results_wei": str(sums.locked_results_wei),
            "total_wei": str(sums.locked_wei),
        },
        "claimable_wei": str(due_wei(claims, chain_time)),
        "claims": [{**claim.to_json(), "due": claim.due(chain_time)} for claim in claims],
        "promised_wei": str(book.committed_wei()),
        "earned_wei": str(sums.earned_wei),
        "net_wei": str(sums.net_wei),
        "gas_spent_wei": str(sums.gas_wei),
    }
