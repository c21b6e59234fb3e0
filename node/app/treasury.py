"""The operator's own transactions: what the market may take, and what leaves the wallet.

Sent by whoever holds the journal of the key: a running node carries these out for its control socket, a
command does it itself while no node runs. Money goes to ``wallet.payout_address`` and nowhere else.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import structlog

from node.admission.rules import GAS_PER_DEAL
from node.app.control import Arguments, BadRequest, Verb
from node.app.money import ledger_journal, uncollected
from node.app.parties import OpenMarket, open_market, spending_wallet
from node.app.wallet import transaction_settings, wallet_address
from node.chain.client import Call
from node.chain.fees import first_fees
from node.chain.signer import Key
from node.chain.txmanager import Failed, TxIntent, TxManager
from node.config import Config
from node.engine.book import Book
from node.errors import NodeError, RefusedByPolicy, Retryable
from node.job.amounts import tokens
from node.types import Address, Wei

APPROVE = "wallet.approve"
WITHDRAW = "wallet.withdraw"
ALL = "all"
MAX_AMOUNT_WEI = 2**256 - 1
_DEARER = 2
"""Gas may cost so many times more when the transfer is mined than now, when ``all`` is worked out."""

Needed = Callable[[], Awaitable[Wei]]
"""Returns the payment tokens that open deals may still take from the wallet."""


class NotSent(NodeError):
    """The contract or the node's own rules did not take the operator's transaction."""


class NoPayoutAddress(NodeError):
    """A withdrawal is asked for and the settings do not say where to."""

    exit_code = 2


class Treasury:
    """Spends for the operator, through the one transaction manager of the key."""

    def __init__(
        self, config: Config, market: OpenMarket, transactions: TxManager, *, needed: Needed
    ) -> None:
        self._config = config
        self._market = market
        self._transactions = transactions
        self._needed = needed
        self._account = wallet_address(config)
        # From looking at the balance until the transfer is mined: two orders must not share one balance.
        self._withdrawing = asyncio.Lock()
        self._log = structlog.get_logger()

    def take_over(self, config: Config) -> None:
        """Go by changed settings."""
        self._config = config

    def verbs(self) -> Mapping[str, Verb]:
        """Return the commands by name. Amounts are decimal strings of wei."""
        return {APPROVE: self._approve, WITHDRAW: self._withdraw}

    async def _approve(self, arguments: Arguments) -> dict[str, str]:
        contracts = self._market.contracts
        amount = _amount_wei(arguments)
        call = contracts.approve(contracts.addresses.payments, amount)
        return {"tx_hash": await self._send(f"approve:{amount}", call)}

    async def _withdraw(self, arguments: Arguments) -> dict[str, str]:
        async with self._withdrawing:
            return await self._withdraw_now(arguments)

    async def _withdraw_now(self, arguments: Arguments) -> dict[str, str]:
        payout = self._payout()
        if any(intent_id.startswith("withdraw:") for intent_id in self._transactions.pending()):
            raise Retryable("an earlier withdrawal has no outcome yet: wait for it, then look at the balance")
        gas, force = arguments.get("gas") is True, arguments.get("force") is True
        wanted = None if arguments.get("amount_wei") == ALL else _amount_wei(arguments)
        if gas:
            balance, kept, why = await self._gas_money(payout, force=force)
        else:
            await self._collect()
            balance, kept, why = await self._token_money(force=force)
        amount = Wei(max(0, balance - kept)) if wanted is None else wanted
        if amount > balance:
            raise NotSent(f"the wallet holds {tokens(balance)}, less than the {tokens(amount)} asked for")
        if amount > balance - kept:
            raise RefusedByPolicy(
                f"{why} {tokens(kept)} of the {tokens(balance)} in the wallet: withdraw at most "
                f"{tokens(max(0, balance - kept))}" + ("" if force else ", or more with --force")
            )
        if not amount:
            raise NotSent(f"nothing can be withdrawn: {why} {tokens(kept)} of the {tokens(balance)} there")
        call = (
            Call(payout, b"", f"transfer of gas money to {payout}", amount)
            if gas
            else self._market.contracts.transfer(payout, amount)
        )
        name = f"withdraw:{'gas' if gas else 'tokens'}:{amount}"
        return {"tx_hash": await self._send(name, call), "amount_wei": str(amount), "to": payout}

    def _payout(self) -> Address:
        if not self._config.wallet.payout_address:
            raise NoPayoutAddress("set wallet.payout_address to the account that withdrawals go to")
        return Address(self._config.wallet.payout_address)

    async def _collect(self) -> None:
        """Have the market pay what the token did not deliver before, so that it is there to withdraw."""
        credit = await uncollected(self._market, self._account)
        if not credit:
            return
        try:
            await self._send(f"withdraw:credit:{credit}", self._market.contracts.withdraw(self._account))
        except NotSent as problem:
            # The token still does not deliver; what is in the wallet is no less the operator's for that.
            self._log.warning("credit_not_collected", credit_wei=str(credit), problem=str(problem))

    async def _token_money(self, *, force: bool) -> tuple[int, int, str]:
        """Return the balance, what of it must stay, and why, in words that an amount follows."""
        balance = await self._market.contracts.token_balance(self._account)
        return balance, 0 if force else await self._needed(), "open deals may still need"

    async def _gas_money(self, payout: Address, *, force: bool) -> tuple[int, int, str]:
        chain, settings = self._market.chain, transaction_settings(self._config.chain)
        balance, network = await chain.balance(self._account), await chain.fees()
        gas = await chain.estimate_gas(Call(payout, b"", "transfer", Wei(1)), self._account)
        limit = gas * (100 + settings.gas_margin_percent) // 100
        own_cost = _DEARER * limit * first_fees(network, settings).max_fee_wei
        if force:
            return balance, own_cost, "the transfer itself may cost"
        deals = self._config.admission.min_gas_deals
        reserve = deals * GAS_PER_DEAL * (network.base_fee_wei + network.tip_wei)
        return balance, own_cost + reserve, f"the gas of {deals} deals and of this transfer takes"

    async def _send(self, name: str, call: Call) -> str:
        # The block makes the same order later an intent of its own, and repeated at once the same one.
        head = await self._market.chain.head()
        outcome = await self._transactions.send(TxIntent(f"{name}:{head.number}", call))
        if isinstance(outcome, Failed):
            refused = RefusedByPolicy if outcome.by_policy else NotSent
            raise refused(f"{call.what} was not done: {outcome.reason}")
        return outcome.tx_hash


@asynccontextmanager
async def own_treasury(config: Config, key: Key | None) -> AsyncIterator[Treasury]:
    """Open the wallet for the operator while no node runs. Raises InUse if one does."""
    needed = await _needed_by_open_jobs(config)

    async def unchanged() -> Wei:
        return needed

    async with (
        open_market(config.chain) as market,
        spending_wallet(config, market, key=key) as wallet,
    ):
        yield Treasury(config, market, wallet.transactions, needed=unchanged)


async def _needed_by_open_jobs(config: Config) -> Wei:
    if not (config.node.directory / "journal.sqlite").exists():
        return Wei(0)
    book = Book()
    async with ledger_journal(config) as ledger:
        for job in await ledger.open_jobs():
            book.put(job, 0.0)
    return book.committed_wei()


def _amount_wei(arguments: Arguments) -> Wei:
    given = arguments.get("amount_wei")
    if not isinstance(given, str) or not given.isascii() or not given.isdigit() or len(given) > 78:
        raise BadRequest("amount_wei is a decimal string of wei")
    amount = int(given)
    if amount > MAX_AMOUNT_WEI:
        raise BadRequest(f"amount_wei is larger than {MAX_AMOUNT_WEI}")
    return Wei(amount)
