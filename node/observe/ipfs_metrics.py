"""The metrics of the embedded IPFS node, which mirror the status document.

Its counts begin anew whenever it is started again, which is what Prometheus takes a counter to do. A node
that is turned off has no samples, one that is down only those of being down.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_GAUGES: Final = {
    "peers": ("ipfs_peers", "IPFS nodes that are connected."),
    "waiting_wants": ("ipfs_waiting_wants", "Blocks that peers wait for and that are not here."),
}
_COUNTERS: Final = {
    "restarts": ("ipfs_restarts", "How often the IPFS node had to be started again."),
    "served_blocks": ("ipfs_served_blocks", "Blocks sent to peers."),
    "served_bytes": ("ipfs_served_bytes", "Bytes of blocks sent to peers."),
    "refused_messages": ("ipfs_refused_messages", "Messages of peers beyond what is allowed."),
    "unsolicited_blocks": ("ipfs_unsolicited_blocks", "Blocks from peers that nobody asked for."),
    "slow_readers": ("ipfs_slow_readers", "Peers that were cut off because they read too slowly."),
    "contained_faults": ("ipfs_contained_faults", "Faults in libp2p that ended one peer's stream."),
}


class IpfsMetrics(Collector):
    """Everything that is told of the embedded node."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ipfs: Mapping[str, Any] = {}
        registry.register(self)

    def mirror(self, ipfs: Mapping[str, Any]) -> None:
        """Take what the status document says of the node."""
        self._ipfs = ipfs

    def collect(self) -> Iterator[Metric]:
        """Give each metric, with a sample if there is one."""
        ipfs = self._ipfs if self._ipfs.get("enabled") else {}
        up = GaugeMetricFamily("sdv_node_ipfs_up", "1 if the IPFS node serves peers.")
        if ipfs:
            up.add_metric((), float(ipfs.get("problem") is None))
        yield up
        for key, (name, text) in _GAUGES.items():
            yield _with_sample(GaugeMetricFamily(f"sdv_node_{name}", text), ipfs.get(key))
        for key, (name, text) in _COUNTERS.items():
            yield _with_sample(CounterMetricFamily(f"sdv_node_{name}", text), ipfs.get(key))


def _with_sample(family: GaugeMetricFamily | CounterMetricFamily, value: float | None) -> Metric:
    if value is not None:
        family.add_metric((), float(value))
    return family
