"""What a foreign use of our key means: an alarm, and for a second node's the end of all signing."""

import structlog

from node.app.parties import OpenMarket
from node.chain.twin import ForeignUse, KeyWatch, RevocableSigner
from node.clock import Clock
from node.journal.database import Database
from node.journal.halts import Halts
from node.journal.key_uses import KeyUses
from node.observe.health import Health
from node.observe.metrics import Metrics


def key_watch(
    market: OpenMarket,
    signer: RevocableSigner,
    *,
    database: Database,
    halts: Halts,
    health: Health,
    metrics: Metrics,
    poll_interval_s: float,
    clock: Clock,
) -> KeyWatch:
    """Return the watch over the node's own account."""
    log = structlog.get_logger()

    def on_foreign(use: ForeignUse) -> None:
        metrics.foreign_transaction("by_hand" if use.twin is None else "another_node")

    async def halt(reason: str) -> None:
        # First what cannot fail: from here on not even a task in flight gets a signature.
        signer.revoke(reason)
        health.condition("key", ok=False, why=reason)
        await halts.write(reason)
        log.error("node_halted", reason=reason)

    return KeyWatch(
        market.chain,
        signer.address,
        controller=market.contracts.addresses.controller,
        deals=market.contracts,
        memory=KeyUses(database),
        halt=halt,
        on_foreign=on_foreign,
        poll_interval_s=poll_interval_s,
        clock=clock,
    )
