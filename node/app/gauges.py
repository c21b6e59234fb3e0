"""What the node reads of itself every few seconds, and why it would decline an offer at this moment."""

import asyncio
from collections.abc import Callable
from typing import Any

from node.admission.costs import in_the_way
from node.admission.rules import GAS_PER_DEAL
from node.app.wallet import policy_problem
from node.chain.client import Chain
from node.chain.contracts import MarketContracts
from node.config import Config
from node.engine.book import Book
from node.engine.statements import Statements
from node.observe.metrics import Metrics
from node.types import Address, Wei


class Gauges:
    """Balances and earnings. ``worker_problem`` and ``disk_problem`` tell why no job is taken now."""

    def __init__(
        self,
        *,
        config: Config,
        chain: Chain,
        contracts: MarketContracts,
        statements: Statements,
        book: Book,
        provider: Address,
        draining: Callable[[], str | None],
        worker_problem: Callable[[], str | None],
        disk_problem: Callable[[], str | None],
        chain_problem: Callable[[], str | None],
        replacements: Callable[[], int],
        metrics: Metrics,
        least_wei: Wei,
    ) -> None:
        self._config = config
        self._chain = chain
        self._contracts = contracts
        self._statements = statements
        self._book = book
        self._provider = provider
        self._draining = draining
        self._worker_problem = worker_problem
        self._disk_problem = disk_problem
        self._chain_problem = chain_problem
        self._replacements = replacements
        self._counted_replacements = 0
        self._metrics = metrics
        self._least_wei = least_wei

    def take_over(self, config: Config, least_wei: Wei) -> None:
        """Go by changed settings, and by what the cheapest job costs now."""
        self._config = config
        self._least_wei = least_wei

    async def read(self) -> dict[str, Any]:
        """Return the changing parts of the status. Raises Unreachable while the chain does not answer."""
        payments = self._contracts.addresses.payments
        head, gas_wei, token_wei, allowance_wei, token_paused, fees = await asyncio.gather(
            self._chain.head(),
            self._chain.balance(self._provider),
            self._contracts.token_balance(self._provider),
            self._contracts.token_allowance(self._provider, payments),
            self._contracts.token_paused(),
            self._chain.fees(),
        )
        gas_price = Wei(fees.base_fee_wei + fees.tip_wei)
        while self._counted_replacements < self._replacements():
            self._counted_replacements += 1
            self._metrics.worker_restarted()
        reasons = self._reasons(gas_wei, token_wei, allowance_wei, gas_price)
        if token_paused:
            reasons.append("the payment token is paused by its owner: nothing can be locked or paid")
        return {
            "wallet": {
                "address": self._provider,
                "gas_wei": str(gas_wei),
                "gas_deals": int(gas_wei // max(1, GAS_PER_DEAL * gas_price)),
                "token_wei": str(token_wei),
                "token_deals": int(token_wei // max(1, self._collateral_wei())),
                "allowance_wei": str(allowance_wei),
                "allowance_needed": self._contracts.rules.needs_allowance,
            },
            "earnings": await self._statements.earnings(head.timestamp, self._book.open_jobs()),
            "accepting": not reasons,
            "not_accepting_because": reasons,
        }

    def obstacles(self) -> tuple[bool, ...]:
        """Return which of the reasons that lie in the node itself hold; costs nothing to ask."""
        told = (self._draining, self._chain_problem, self._worker_problem, self._disk_problem)
        return tuple(problem() is not None for problem in told)

    def _collateral_wei(self) -> int:
        """Return what one deal locks of our payment tokens at most."""
        deal = self._config.deal
        return max(deal.timeout_collateral, self._least_wei * deal.results_collateral_multiple)

    def _reasons(self, gas_wei: Wei, token_wei: Wei, allowance_wei: Wei, gas_price: Wei) -> list[str]:
        deal = self._config.deal
        price = self._least_wei
        results = price * deal.results_collateral_multiple
        locked = self._collateral_wei()
        symbol_hint = "fund the wallet: sdv-node wallet show prints its address"
        policy = policy_problem(self._config, price)
        checks = (
            (self._draining() is not None, str(self._draining())),
            (self._chain_problem() is not None, f"the chain does not answer: {self._chain_problem()}"),
            (self._worker_problem() is not None, str(self._worker_problem())),
            (self._disk_problem() is not None, str(self._disk_problem())),
            (not self._config.market.mediators, "no mediator is named: set market.mediators"),
            (policy is not None, str(policy)),
            (
                gas_wei < self._config.admission.min_gas_deals * GAS_PER_DEAL * gas_price,
                f"too little gas money, {symbol_hint}",
            ),
            (token_wei < locked, f"too few payment tokens for the collateral, {symbol_hint}"),
            (
                self._contracts.rules.needs_allowance and allowance_wei < deal.timeout_collateral + results,
                "the market may not take the collateral: run sdv-node wallet approve",
            ),
        )
        caps = in_the_way(
            self._config.admission,
            price_wei=price,
            collateral_wei=Wei(locked),
            gas_price_wei=gas_price,
        )
        return [*(text for failed, text in checks if failed), *caps]
