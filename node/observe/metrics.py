"""The node's Prometheus metrics: every name that exists, in one place.

Counters and histograms are moved by the room that does the work. Gauges that only mirror the node's present
state are set from the status snapshot when they are read, so they cannot go stale. No job, deal or wallet is
ever a label. Amounts are in wei, the only unit of a token that holds for every token: whole tokens would need
its decimals. Prometheus keeps floats, which lose digits beyond the 15th; the journal does not.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from node.observe.gpu_metrics import GpuGauges
from node.observe.ipfs_metrics import IpfsMetrics
from node.observe.operation_metrics import OperationGauges

_LABEL: Final = re.compile(r"[a-z0-9_]{1,40}")
_MAX_LABEL_VALUES: Final = 40
_RATIOS: Final = (0.25, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 4)
_JOURNAL_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_KNOWN: Final = {
    "phase": ("paid", "failed", "rejected", "unpaid", "lapsed", "refused"),
    "status": ("mined", "reverted", "refused"),
    "by": ("by_hand", "another_node"),
    "outcome": ("stored", "read", "refused", "failed"),
    "kind": ("timeout", "unreachable", "rate_limited", "bad_reply"),
}
"""What is exposed as 0 from the start: of a counter that begins with 1, Prometheus does not see the first."""
_SECONDS: Final = (0.1, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)


class Metrics:
    """One registry and everything in it. A test makes its own."""

    def __init__(self, version: str) -> None:
        # The moment at which a counter began is a series more for each of them that nothing here reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry: Final = CollectorRegistry(auto_describe=True)
        self._label_values: Final[dict[str, set[str]]] = {}
        ProcessCollector(namespace="sdv_node", registry=self.registry)
        self._gauge("build_info", "Always 1; the version is the label.", "version").labels(version).set(1)

        self._offers_seen = self._counter("offers_seen_total", "Offers decoded from the market.")
        self._offers_refused = self._counter("offers_refused_total", "Offers refused, by rule.", "reason")
        self._jobs_finished = self._counter("jobs_finished_total", "Jobs that ended, by last phase.", "phase")
        self._transactions = self._counter("transactions_total", "Transactions, by outcome.", "status")
        self._gas_spent = self._counter("gas_spent_wei_total", "Fees of mined transactions.")
        self._foreign = self._counter(
            "foreign_transactions_total", "Transactions of our key that this node did not sign.", "by"
        )
        self._paid = self._counter("paid_wei_total", "Job payments received, in token wei.")
        self._render = self._histogram("render_seconds", "Time in one stage of the pipeline.", "stage")
        self._taken = Histogram(
            "render_taken_to_expected_ratio",
            "Rendering time of a job over what was expected.",
            namespace="sdv_node",
            registry=self.registry,
            buckets=_RATIOS,
        )
        self._steps = self._counter(
            "render_steps_total", "Steps of the pipeline that were computed.", "stage"
        )
        self._publish = self._histogram("publish_seconds", "Time to publish one result.")
        self._load = self._histogram("worker_load_seconds", "Time until a worker has its models loaded.")
        self._journal = Histogram(
            "journal_transaction_seconds",
            "Time of one transaction of the journal on its disk, readings included.",
            namespace="sdv_node",
            registry=self.registry,
            buckets=_JOURNAL_SECONDS,
        )
        self._copies = self._counter("copies_total", "Tries to keep or read a result, by outcome.", "outcome")
        self._rpc_errors = self._counter("rpc_errors_total", "Calls an RPC endpoint failed, by kind.", "kind")
        self._worker_restarts = self._counter("worker_restarts_total", "Workers replaced.")
        self._worker_deaths = self._counter(
            "worker_deaths_total", "Workers that a job lost, by cause.", "cause"
        )

        self._cases = self._counter("mediation_cases_total", "Disputes of others that ended here.", "outcome")
        self._jobs_in_phase = self._gauge("jobs_in_phase", "Jobs now in this phase.", "phase")
        self._head_block = self._gauge("head_block", "Newest block seen.")
        self._head_seen = self._gauge(
            "head_seen_timestamp_seconds", "Time of the newest block that was seen."
        )
        self._cursor_block = self._gauge("cursor_block", "Last block whose logs are in the journal.")
        self._rpc_up = self._gauge("rpc_up", "1 if an RPC endpoint answers.")
        self._endpoint_up = self._gauge("rpc_endpoint_up", "1 if this endpoint may be used.", "endpoint")
        self._accepting = self._gauge("accepting", "1 if the node takes new jobs.")
        self._worker_ready = self._gauge("worker_ready", "1 if a worker has its models loaded.")
        self._worker_slots = self._gauge("worker_slots", "Places for a worker, by what it does.", "state")
        self._quarantined = self._gauge("quarantined_inputs", "Inputs that killed two workers.")
        self._gas_balance = self._gauge("gas_balance_wei", "Gas token in the node's wallet.")
        self._token_balance = self._gauge("token_balance_wei", "Payment token in the node's wallet.")
        self._locked = self._gauge("locked_wei", "Own payment tokens locked in deals, by kind.", "kind")
        self._claimable = self._gauge("claimable_wei", "Payment tokens that a claim would bring now.")
        self._net = self._gauge("net_wei", "Payment tokens earned less slashed; gas is not in it.")
        self._disk_free = self._gauge("disk_free_bytes", "Free space where results are kept.")
        self._gpus = GpuGauges(self.registry)
        self._ipfs = IpfsMetrics(self.registry)
        self._operation = OperationGauges(self.registry)
        self.gpu_errors = self._gpus.errors
        for counter, label in (
            (self._jobs_finished, "phase"),
            (self._transactions, "status"),
            (self._foreign, "by"),
            (self._copies, "outcome"),
            (self._rpc_errors, "kind"),
        ):
            for value in _KNOWN[label]:
                counter.labels(self._bounded(label, value))

    def offer_seen(self) -> None:
        """Count an offer decoded from the market."""
        self._offers_seen.inc()

    def offer_refused(self, reason: str) -> None:
        """Count a refusal under the name of the rule that refused (``price_too_low``)."""
        self._offers_refused.labels(self._bounded("reason", reason)).inc()

    def job_finished(self, phase: str) -> None:
        """Count a job that reached a terminal phase."""
        self._jobs_finished.labels(self._bounded("phase", phase)).inc()

    def transaction(self, status: str) -> None:
        """Count a transaction's outcome (``mined``, ``reverted``, ``failed``)."""
        self._transactions.labels(self._bounded("status", status)).inc()

    def gas_spent(self, fee_wei: int) -> None:
        """Add the fee of one mined transaction."""
        self._gas_spent.inc(fee_wei)

    def foreign_transaction(self, by: str) -> None:
        """Count a transaction of our key that this node did not sign (``by_hand``, ``another_node``)."""
        self._foreign.labels(self._bounded("by", by)).inc()

    def paid(self, amount_wei: int) -> None:
        """Add one job payment received, in wei of the payment token."""
        self._paid.inc(amount_wei)

    def rpc_error(self, kind: str) -> None:
        """Count a failed call (``timeout``, ``unreachable``, ``rate_limited``, ``bad_reply``)."""
        self._rpc_errors.labels(self._bounded("kind", kind)).inc()

    def rendered(self, stage: str, seconds: float) -> None:
        """Record how long one stage of one job took."""
        self._render.labels(self._bounded("stage", stage)).observe(seconds)

    def stepped(self, stage: str, steps: int) -> None:
        """Count steps of one stage of one job that were computed."""
        self._steps.labels(self._bounded("stage", stage)).inc(steps)

    def worker_loaded(self, seconds: float) -> None:
        """Record how long a worker took to load its models."""
        self._load.observe(seconds)

    def journal_written(self, seconds: float) -> None:
        """Record how long one transaction of the journal took; may be called from any thread."""
        self._journal.observe(seconds)

    def taken(self, expected_s: float, taken_s: float) -> None:
        """Record how a job's rendering time compares with what was expected of it."""
        if expected_s > 0:
            self._taken.observe(taken_s / expected_s)

    def published(self, seconds: float) -> None:
        """Record how long publishing one result took."""
        self._publish.observe(seconds)

    def copy_made(self, outcome: str) -> None:
        """Count an attempt to keep or read back a result (``stored``, ``read``, ``refused``, ``failed``)."""
        self._copies.labels(self._bounded("outcome", outcome)).inc()

    def worker_restarted(self) -> None:
        """Count a worker that was replaced."""
        self._worker_restarts.inc()

    def worker_died(self, cause: str) -> None:
        """Count a worker that was lost with a job (``hang``, ``out_of_memory``, ``signal``)."""
        self._worker_deaths.labels(self._bounded("cause", cause)).inc()

    def case_ended(self, outcome: str) -> None:
        """Count a dispute of others by how it ended (``accept``, ``reject``, ``declined``, ``lapsed``)."""
        self._cases.labels(self._bounded("outcome", outcome)).inc()

    def mirror(self, status: Mapping[str, Any]) -> None:
        """Set the gauges from a status snapshot. Absent or null values remove their sample's old number."""
        chain, wallet, worker = (_part(status, name) for name in ("chain", "wallet", "worker"))
        self._set(self._head_block, chain.get("head"))
        self._set(self._head_seen, chain.get("head_at"))
        self._set(self._cursor_block, chain.get("cursor"))
        self._set(self._rpc_up, chain.get("rpc_ok"))
        self._endpoint_up.clear()
        for endpoint in chain.get("endpoints") or []:
            self._endpoint_up.labels(endpoint["name"]).set(endpoint["state"] in {"new", "up"})
        self._set(self._accepting, status.get("accepting"))
        self._set(self._worker_ready, worker.get("ready"))
        self._set(self._quarantined, worker.get("quarantined"))
        self._worker_slots.clear()
        for slot in worker.get("slots") or []:
            self._worker_slots.labels(self._bounded("state", slot["state"])).inc()
        self._set(self._gas_balance, wallet.get("gas_wei"))
        self._set(self._token_balance, wallet.get("token_wei"))
        earnings = _part(status, "earnings")
        for kind in ("timeout", "results"):
            self._set(self._locked.labels(kind), earnings.get(f"locked_{kind}_wei"))
        self._set(self._claimable, earnings.get("claimable_wei"))
        self._set(self._net, earnings.get("net_wei"))
        self._set(self._disk_free, _part(status, "disk").get("free_bytes"))
        self._jobs_in_phase.clear()
        for phase, count in _part(_part(status, "jobs"), "by_phase").items():
            self._jobs_in_phase.labels(self._bounded("phase", str(phase))).inc(float(count))
        self._gpus.mirror(status)
        self._ipfs.mirror(_part(status, "ipfs"))
        self._operation.mirror(status)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return the text of all metrics and its content type, in the format ``accept`` asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def names(self) -> frozenset[str]:
        """Return every sample name that can appear, for alert rules and dashboards to be checked against."""
        found: set[str] = set()
        for metric in self.registry.collect():
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
            found.update(metric.name + suffix for suffix in suffixes.get(metric.type, ("",)))
        return frozenset(found)

    def _set(self, gauge: Gauge, value: float | str | None) -> None:
        # NaN is Prometheus's own "unknown"; a zero here would say that the wallet is empty.
        gauge.set(float("nan") if value is None else float(value))

    def _bounded(self, label: str, value: str) -> str:
        """Keep the set of values of a label small and plain, whatever a caller hands in."""
        value = value.lower()
        seen = self._label_values.setdefault(label, set())
        if value not in seen and (len(seen) >= _MAX_LABEL_VALUES or not _LABEL.fullmatch(value)):
            return "other"
        seen.add(value)
        return value

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace="sdv_node", registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace="sdv_node", registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, namespace="sdv_node", registry=self.registry, buckets=_SECONDS)


def _part(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = status.get(name)
    return part if isinstance(part, Mapping) else {}
