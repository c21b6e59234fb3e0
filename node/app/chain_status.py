"""What following the chain means for health, metrics and the status shown to people."""

from typing import Any

from node.chain.contracts import MarketContracts
from node.chain.endpoints import EndpointPool
from node.engine.snapshot import Snapshot
from node.market.batch import FeedBatch
from node.observe.health import Health
from node.observe.metrics import Metrics

HEAD_STALE_S = 120.0
FOLLOWER_SILENT_S = 120.0
FOLLOWER = "follower"


class ChainStatus:
    """Hears from the follower and of the endpoints. ``problem`` is why the chain cannot be read now."""

    def __init__(self, health: Health, metrics: Metrics, snapshot: Snapshot, endpoints: EndpointPool) -> None:
        self._health = health
        self._snapshot = snapshot
        self._endpoints = endpoints
        endpoints.on_failure = metrics.rpc_error
        endpoints.on_change = self._update
        self.problem: str | None = None

    def connected(self, contracts: MarketContracts, symbol: str) -> None:
        """Say which market this is, and expect the follower's signs of life from now on."""
        self._health.expect(FOLLOWER, FOLLOWER_SILENT_S)
        self._health.watch_head(HEAD_STALE_S)
        self._snapshot.update(
            chain={
                "chain_id": contracts.place.chain_id,
                "controller": contracts.addresses.controller,
                "job_manager": contracts.addresses.job_manager,
                "token": contracts.addresses.token,
                "symbol": symbol,
                "rules": contracts.rules.to_json(),
                "rpc_ok": True,
                "problem": None,
                "head": None,
                "head_at": None,
                "cursor": None,
                "endpoints": self._standings(),
            }
        )

    def read_up_to(self, batch: FeedBatch) -> None:
        """Note how far the logs are read."""
        self._health.head(batch.head.number)
        self._update(head=batch.head.number, head_at=batch.head.timestamp, cursor=batch.last.number)

    def trouble(self, problem: str | None) -> None:
        """Note a failed turn of the follower, or with None a good one."""
        self._health.beat(FOLLOWER)
        self._health.condition("chain", ok=problem is None, why=problem or "")
        if problem != self.problem:
            self.problem = problem
            self._update(rpc_ok=problem is None, problem=problem)
        if problem is not None:
            self._snapshot.update(
                accepting=False, not_accepting_because=[f"the chain does not answer: {problem}"]
            )

    def _update(self, **changes: object) -> None:
        known = self._snapshot.part("chain")
        if known is not None:
            self._snapshot.update(chain={**known, **changes, "endpoints": self._standings()})

    def _standings(self) -> list[dict[str, Any]]:
        return [
            {
                "name": report.name,
                "state": report.state,
                "active": report.active,
                "head": report.head,
                "lag": report.lag,
                "problem": report.problem,
            }
            for report in self._endpoints.reports()
        ]
