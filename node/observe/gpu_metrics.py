"""The metrics of GPUs: gauges that mirror the status document, and a counter of the cards' errors.

The label ``gpu`` is the card's index, as ``nvidia-smi`` shows it. A reading that a card does not give has no
sample, because a zero would say that all is well.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")
_MAX_LABEL: Final = 40


class GpuGauges:
    """Everything that is told of GPUs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry: Final = registry
        self._count = self._gauge("gpus", "GPUs that answer.")
        self._gate_open = self._gauge("gpus_open", "1 if GPUs may be used for new jobs now.")
        self._lent = self._gauge("gpus_lent", "1 if gpu.hours lend the GPUs now.")
        self._errors = Counter(
            "gpu_xid_errors_total",
            "Critical errors (Xid) that the driver reported.",
            ("gpu",),
            namespace="sdv_node",
            registry=registry,
        )
        self._memory = self._gauge("gpu_memory_bytes", "GPU memory.", "gpu", "kind")
        self._promised = self._gauge("gpu_promised_bytes", "GPU memory reserved for open jobs.", "gpu")
        self._utilisation = self._gauge("gpu_utilisation_ratio", "GPU use, 0 to 1.", "gpu")
        self._clock = self._gauge("gpu_clock_hertz", "GPU clocks.", "gpu", "clock")
        self._throttled = self._gauge("gpu_throttled", "1 for each reason of low clocks.", "gpu", "reason")
        self._others = self._gauge("gpu_other_processes", "Processes of others on the GPU.", "gpu")
        self._usable = self._gauge("gpu_usable", "1 if a job may begin on the GPU now.", "gpu")
        self._shut = self._gauge("gpu_shut", "1 for each cause that keeps jobs off the GPU.", "gpu", "cause")
        self._plain: Final = {
            "temperature_c": self._gauge("gpu_temperature_celsius", "GPU temperature.", "gpu"),
            "slowdown_temperature_c": self._gauge(
                "gpu_slowdown_temperature_celsius", "From which on the GPU slows itself down.", "gpu"
            ),
            "power_w": self._gauge("gpu_power_watts", "GPU power draw.", "gpu"),
            "power_limit_w": self._gauge("gpu_power_limit_watts", "GPU power limit.", "gpu"),
            "ecc_uncorrected_errors": self._gauge(
                "gpu_ecc_uncorrected_errors",
                "Memory errors not corrected since the driver was loaded.",
                "gpu",
            ),
        }

    def errors(self, gpu: str, count: int) -> None:
        """Count critical errors of one GPU."""
        self._errors.labels(gpu).inc(count)

    def mirror(self, status: Mapping[str, Any]) -> None:
        """Set the gauges from a status document; what is gone from it is gone here."""
        gpus = status.get("gpus") or []
        gate = status.get("gpu_gate") or {}
        self._count.set(len(gpus))
        # NaN is Prometheus's own "unknown".
        self._gate_open.set(gate.get("open", float("nan")))
        self._lent.set(gate.get("in_hours", float("nan")))
        per_gpu = (
            self._memory,
            self._promised,
            self._utilisation,
            self._clock,
            self._throttled,
            self._others,
        )
        for gauge in (*per_gpu, self._usable, self._shut, *self._plain.values()):
            gauge.clear()
        for gpu in gpus:
            self._mirror_one(str(gpu.get("index")), gpu)

    def _mirror_one(self, index: str, gpu: Mapping[str, Any]) -> None:
        # Of a counter that is there before its first error, Prometheus sees the first one too.
        self._errors.labels(index)
        for kind in ("total", "free", "used"):
            _set(self._memory, gpu.get(f"memory_{kind}_bytes"), index, kind)
        _set(self._memory, gpu.get("own_memory_bytes"), index, "own")
        _set(self._promised, gpu.get("promised_bytes"), index)
        percent = gpu.get("utilisation_percent")
        _set(self._utilisation, None if percent is None else percent / 100, index)
        for clock in ("sm", "memory"):
            _set(self._clock, gpu.get(f"{clock}_clock_hz"), index, clock)
        for reason in gpu.get("throttle_reasons") or ():
            self._throttled.labels(index, _label(reason)).set(1)
        self._others.labels(index).set(len(gpu.get("other_processes") or ()))
        _set(self._usable, gpu.get("usable"), index)
        for reason in gpu.get("shut") or ():
            self._shut.labels(index, _label(reason["cause"])).set(1)
        for name, gauge in self._plain.items():
            _set(gauge, gpu.get(name), index)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace="sdv_node", registry=self._registry)


def _set(gauge: Gauge, value: float | None, *labels: str) -> None:
    if value is not None:
        gauge.labels(*labels).set(value)


def _label(words: str) -> str:
    """Return one of our own fixed phrases as the value of a label."""
    return _SEPARATORS.sub("_", words.lower()).strip("_")[:_MAX_LABEL]
