"""The gauges of what an operator is woken for: deadlines, transactions that wait, places that fail.

All mirror the status document. What is not known, or not there, is NaN: no deal is not a deal without time.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge

_OFFERED: Final = {
    "published": 1.0,
    "withdrawn": 0.0,
    "none": 0.0,
    "waiting": 0.0,
    "pending": 0.0,
    "stale": 0.0,
}
"""A node that drains takes its offer back on purpose: that is neither."""


class OperationGauges:
    """Everything that is told of how the node's work goes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry: Final = registry
        self._plain: Final = {
            ("operation", "journal_waits"): self._gauge(
                "journal_waits", "1 while the disk takes no more of the journal and everything stands still."
            ),
            ("operation", "rpc_disagreement"): self._gauge(
                "rpc_disagreement", "1 while the RPC endpoints disagree and nothing is read or sent."
            ),
            ("operation", "open_transactions"): self._gauge(
                "open_transactions", "Transactions without a confirmed outcome."
            ),
            ("operation", "oldest_transaction_s"): self._gauge(
                "oldest_transaction_age_seconds",
                "For how long the oldest open transaction has been followed.",
            ),
            ("operation", "deadline"): self._gauge(
                "deadline_timestamp_seconds", "The earliest deadline of a deal without a result on chain."
            ),
            ("operation", "slack_s"): self._gauge(
                "deadline_slack_seconds", "What the tightest deal has left after its expected rendering."
            ),
            ("operation", "oldest_publishing_s"): self._gauge(
                "oldest_publishing_age_seconds",
                "For how long the oldest rendered result has not been read back.",
            ),
            ("worker", "waiting_jobs"): self._gauge("jobs_waiting", "Jobs that wait for a worker."),
            ("wallet", "gas_deals"): self._gauge(
                "gas_balance_deals", "Deals that the gas money is enough for."
            ),
            ("wallet", "token_deals"): self._gauge(
                "token_balance_deals", "Deals whose collateral the payment tokens are enough for."
            ),
            ("earnings", "last_paid_at"): self._gauge(
                "last_paid_timestamp_seconds", "When a job was last paid, by block time."
            ),
            ("storage", "kept_bytes"): self._gauge("results_kept_bytes", "Results in the node's own store."),
        }
        self._draining = self._gauge("draining", "1 if the operator lets the node take no new jobs.")
        self._offered = self._gauge("offer_published", "1 if requesters find an offer of this node on chain.")
        self._damaged = self._gauge("results_damaged", "Kept results that cannot be served any more.")
        self._place_up = self._gauge(
            "place_up", "1 if the last use of a place for results went well.", "place"
        )
        self._copies_waiting = self._gauge("copies_waiting", "Results that wait for a place.", "place")
        self._lag = self._gauge(
            "rpc_endpoint_lag_blocks", "How far an endpoint is behind the best.", "endpoint"
        )

    def mirror(self, status: Mapping[str, Any]) -> None:
        """Set the gauges from a status document; what is gone from it is gone here."""
        for (section, key), gauge in self._plain.items():
            _set(gauge, _part(status, section).get(key))
        _set(self._draining, status.get("draining"))
        _set(self._offered, _OFFERED.get(str(_part(status, "offer").get("state"))))
        damaged = _part(status, "storage").get("damaged")
        _set(self._damaged, None if damaged is None else len(damaged))
        self._mirror_places(status.get("targets") or ())
        self._lag.clear()
        for endpoint in _part(status, "chain").get("endpoints") or ():
            if endpoint.get("lag") is not None:
                self._lag.labels(endpoint["name"]).set(endpoint["lag"])

    def _mirror_places(self, places: Sequence[Mapping[str, Any]]) -> None:
        self._place_up.clear()
        self._copies_waiting.clear()
        for place in places:
            self._copies_waiting.labels(place["name"]).set(place["waiting"])
            if place["tried"]:
                self._place_up.labels(place["name"]).set(place["problem"] is None)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace="sdv_node", registry=self._registry)


def _set(gauge: Gauge, value: float | str | None) -> None:
    gauge.set(float("nan") if value is None else float(value))


def _part(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = status.get(name)
    return part if isinstance(part, Mapping) else {}
