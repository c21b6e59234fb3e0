"""What Prometheus is told of the embedded IPFS node is what its status says."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from node.observe.metrics import Metrics
from node.publisher.p2p.embedded import PeerStats

RUNNING = {
    "enabled": True,
    "problem": None,
    "restarts": 1,
    "peers": 3,
    "waiting_wants": 2,
    "served_blocks": 17,
    "served_bytes": 4096,
    "contained_faults": 5,
}


@pytest.fixture
def samples():
    metrics = Metrics("0.1.0")

    def read(ipfs):
        metrics.mirror({"ipfs": ipfs})
        text = metrics.exposition()[0].decode()
        return {
            sample.name.removeprefix("sdv_node_ipfs_"): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if "_ipfs_" in sample.name
        }

    return read


def test_a_node_that_serves_tells_its_counts(samples):
    assert samples(RUNNING) == {
        "up": 1,
        "peers": 3,
        "waiting_wants": 2,
        "restarts_total": 1,
        "served_blocks_total": 17,
        "served_bytes_total": 4096,
        "contained_faults_total": 5,
    }


def test_a_node_that_is_down_has_no_old_counts(samples):
    samples(RUNNING)
    down = {"enabled": True, "problem": "cannot listen", "restarts": 2}
    assert samples(down) == {"up": 0, "restarts_total": 2}


def test_a_node_that_is_turned_off_tells_nothing(samples):
    samples(RUNNING)
    assert samples({"enabled": False}) == {}


def test_every_count_is_one_that_the_embedded_node_keeps():
    from node.observe import ipfs_metrics

    told = {*ipfs_metrics._GAUGES, *ipfs_metrics._COUNTERS} - {"restarts"}
    assert told <= set(PeerStats.__dataclass_fields__)
