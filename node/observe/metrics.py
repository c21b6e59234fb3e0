"""The node's Prometheus metrics: every name that exists, in one place.

Counters and histograms are moved by the room that does the work. Gauges that only mirror the node's present
state are set from the status snapshot when they are read, so they cannot go stale. No job, deal or wallet is
ever a label. Prometheus keeps floats: amounts in wei lose digits beyond the 15th, the journal does not.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

_LABEL: Final = re.compile(r"[a-z0-9_]{1,40}")
_MAX_LABEL_VALUES: Final = 40
_SECONDS: Final = (0.1, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)


class Metrics:
    """One registry and everything in it. A test makes its own."""

    def __init__(self, version: str) -> None:
        self.registry: Final = CollectorRegistry(auto_describe=True)
        self._label_values: Final[dict[str, set[str]]] = {}
        ProcessCollector(namespace="sdv_node", registry=self.registry)
        self._gauge("build_info", "Always 1; the version is the label.", "version").labels(version).set(1)

        self._offers_seen = self._counter("offers_seen_total", "Offers decoded from the market.")
        self._offers_refused = self._counter("offers_refused_total", "Offers refused, by rule.", "reason")
        self._jobs_finished = self._counter("jobs_finished_total", "Jobs that ended, by last phase.", "phase")
        self._transactions = self._counter("transactions_total", "Transactions, by outcome.", "status")
        self._gas_spent = self._counter("gas_spent_wei_total", "Fees of mined transactions.")
        self._paid = self._counter("paid_wei_total", "Job payments received, in token wei.")
        self._render = self._histogram("render_seconds", "Time in one stage of the pipeline.", "stage")
        self._publish = self._histogram("publish_seconds", "Time to publish one result.")
        self._rpc_errors = self._counter("rpc_errors_total", "Calls an RPC endpoint failed, by kind.", "kind")
        self._worker_restarts = self._counter("worker_restarts_total", "Workers replaced.")

        self._jobs_in_phase = self._gauge("jobs_in_phase", "Jobs now in this phase.", "phase")
        self._head_block = self._gauge("head_block", "Newest block seen.")
        self._head_seen = self._gauge("head_seen_timestamp_seconds", "When the newest block was seen.")
        self._cursor_block = self._gauge("cursor_block", "Last block whose logs are in the journal.")
        self._rpc_up = self._gauge("rpc_up", "1 if an RPC endpoint answers.")
        self._accepting = self._gauge("accepting", "1 if the node takes new jobs.")
        self._worker_ready = self._gauge("worker_ready", "1 if a worker has its models loaded.")
        self._gas_balance = self._gauge("gas_balance_wei", "Gas token in the node's wallet.")
        self._token_balance = self._gauge("token_balance_wei", "Payment token in the node's wallet.")
        self._disk_free = self._gauge("disk_free_bytes", "Free space where results are kept.")
        self._gpu_memory = self._gauge("gpu_memory_bytes", "GPU memory.", "gpu", "kind")
        self._gpu_utilisation = self._gauge("gpu_utilisation_ratio", "GPU use, 0 to 1.", "gpu")
        self._gpu_temperature = self._gauge("gpu_temperature_celsius", "GPU temperature.", "gpu")
        self._gpu_power = self._gauge("gpu_power_watts", "GPU power draw.", "gpu")
        self._gpus = self._gauge("gpus", "GPUs that answer.")

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

    def paid(self, amount_wei: int) -> None:
        """Add one job payment received, in wei of the payment token."""
        self._paid.inc(amount_wei)

    def rpc_error(self, kind: str) -> None:
        """Count a failed call (``timeout``, ``unreachable``, ``rate_limited``, ``rejected``)."""
        self._rpc_errors.labels(self._bounded("kind", kind)).inc()

    def rendered(self, stage: str, seconds: float) -> None:
        """Record how long one stage of one job took."""
        self._render.labels(self._bounded("stage", stage)).observe(seconds)

    def published(self, seconds: float) -> None:
        """Record how long publishing one result took."""
        self._publish.observe(seconds)

    def worker_restarted(self) -> None:
        """Count a worker that was replaced."""
        self._worker_restarts.inc()

    def mirror(self, status: Mapping[str, Any]) -> None:
        """Set the gauges from a status snapshot. Absent or null values remove their sample's old number."""
        chain, wallet, worker = (_part(status, name) for name in ("chain", "wallet", "worker"))
        self._set(self._head_block, chain.get("head"))
        self._set(self._head_seen, chain.get("head_at"))
        self._set(self._cursor_block, chain.get("cursor"))
        self._set(self._rpc_up, chain.get("rpc_ok"))
        self._set(self._accepting, status.get("accepting"))
        self._set(self._worker_ready, worker.get("ready"))
        self._set(self._gas_balance, wallet.get("gas_wei"))
        self._set(self._token_balance, wallet.get("token_wei"))
        self._set(self._disk_free, _part(status, "disk").get("free_bytes"))
        self._jobs_in_phase.clear()
        for phase, count in _part(_part(status, "jobs"), "by_phase").items():
            self._jobs_in_phase.labels(self._bounded("phase", str(phase))).inc(float(count))
        self._mirror_gpus(status.get("gpus") or [])

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

    def _mirror_gpus(self, gpus: Sequence[Mapping[str, Any]]) -> None:
        self._gpus.set(len(gpus))
        for gauge in (self._gpu_memory, self._gpu_utilisation, self._gpu_temperature, self._gpu_power):
            gauge.clear()
        for gpu in gpus:
            index = str(gpu.get("index"))
            for kind in ("total", "free", "used"):
                self._set(self._gpu_memory.labels(index, kind), gpu.get(f"memory_{kind}_bytes"))
            percent = gpu.get("utilisation_percent")
            if percent is not None:
                self._gpu_utilisation.labels(index).set(percent / 100)
            if gpu.get("temperature_c") is not None:
                self._gpu_temperature.labels(index).set(gpu["temperature_c"])
            if gpu.get("power_w") is not None:
                self._gpu_power.labels(index).set(gpu["power_w"])

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
