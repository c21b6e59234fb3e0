"""What following the chain means for health, metrics and the status shown to people."""

from node.chain.contracts import MarketContracts
from node.engine.snapshot import Snapshot
from node.market.feed import FeedBatch
from node.observe.health import Health
from node.observe.metrics import Metrics

HEAD_STALE_S = 120.0
FOLLOWER_SILENT_S = 120.0
FOLLOWER = "follower"


class ChainStatus:
    """Hears from the follower. ``problem`` is why the chain cannot be read now, None while it can."""

    def __init__(self, health: Health, metrics: Metrics, snapshot: Snapshot) -> None:
        self._health = health
        self._metrics = metrics
        self._snapshot = snapshot
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
                "rpc_ok": True,
                "problem": None,
                "head": None,
                "head_at": None,
                "cursor": None,
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
        if problem is not None:
            self._metrics.rpc_error("unreachable")
        if problem != self.problem:
            self.problem = problem
            self._update(rpc_ok=problem is None, problem=problem)
        if problem is not None:
            self._snapshot.update(
                accepting=False, not_accepting_because=[f"the chain does not answer: {problem}"]
            )

    def _update(self, **changes: object) -> None:
        self._snapshot.update(chain={**(self._snapshot.part("chain") or {}), **changes})
