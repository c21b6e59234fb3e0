"""What the node reads of itself every few seconds, and why it would decline an offer at this moment."""

import asyncio
from collections.abc import Callable
from typing import Any

from node.admission.rules import GAS_PER_DEAL
from node.chain.client import Chain
from node.chain.contracts import MarketContracts
from node.config import Config
from node.gpu.probe import probe
from node.journal.journal import Journal
from node.observe.metrics import Metrics
from node.types import Address, Wei

DAY_S = 86_400


class Gauges:
    """Balances, GPUs, earnings. ``worker_problem`` tells why no job can be rendered now."""

    def __init__(
        self,
        *,
        config: Config,
        chain: Chain,
        contracts: MarketContracts,
        journal: Journal,
        provider: Address,
        worker_problem: Callable[[], str | None],
        chain_problem: Callable[[], str | None],
        replacements: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._chain = chain
        self._contracts = contracts
        self._journal = journal
        self._provider = provider
        self._worker_problem = worker_problem
        self._chain_problem = chain_problem
        self._replacements = replacements
        self._counted_replacements = 0
        self._metrics = metrics

    async def read(self) -> dict[str, Any]:
        """Return the changing parts of the status. Raises Unreachable while the chain does not answer."""
        payments = self._contracts.addresses.payments
        head, gas_wei, token_wei, allowance_wei, fees = await asyncio.gather(
            self._chain.head(),
            self._chain.balance(self._provider),
            self._contracts.token_balance(self._provider),
            self._contracts.token_allowance(self._provider, payments),
            self._chain.fees(),
        )
        gpus = await asyncio.to_thread(probe)
        while self._counted_replacements < self._replacements():
            self._counted_replacements += 1
            self._metrics.worker_restarted()
        since = head.timestamp - DAY_S
        reasons = self._reasons(gas_wei, token_wei, allowance_wei, Wei(fees.base_fee_wei + fees.tip_wei))
        return {
            "wallet": {
                "address": self._provider,
                "gas_wei": str(gas_wei),
                "token_wei": str(token_wei),
                "allowance_wei": str(allowance_wei),
            },
            "gpus": [gpu.to_json() for gpu in gpus.gpus],
            "gpu_problem": gpus.problem,
            "earnings": {
                "paid_wei": str(await self._journal.earned_wei(self._provider)),
                "day_wei": str(await self._journal.earned_wei(self._provider, since)),
            },
            "accepting": not reasons,
            "not_accepting_because": reasons,
        }

    def _reasons(self, gas_wei: Wei, token_wei: Wei, allowance_wei: Wei, gas_price: Wei) -> list[str]:
        deal = self._config.deal
        price = max(self._config.pricing.floor, self._config.pricing.per_job)
        locked = max(deal.timeout_collateral, price * deal.results_collateral_multiple)
        symbol_hint = "fund the wallet: sdv-node wallet show prints its address"
        checks = (
            (self._chain_problem() is not None, f"the chain does not answer: {self._chain_problem()}"),
            (self._worker_problem() is not None, str(self._worker_problem())),
            (not self._config.market.mediators, "no mediator is named: set market.mediators"),
            (
                gas_wei < self._config.admission.min_gas_deals * GAS_PER_DEAL * gas_price,
                f"too little gas money, {symbol_hint}",
            ),
            (token_wei < locked, f"too few payment tokens for the collateral, {symbol_hint}"),
            (
                allowance_wei < locked,
                "the market may not take the collateral: run sdv-node wallet approve",
            ),
        )
        return [text for failed, text in checks if failed]
