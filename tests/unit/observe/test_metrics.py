"""Every metric has a prefix and a base unit, no label grows without end, and gauges follow the status."""

import re

from prometheus_client.parser import text_string_to_metric_families

from node.observe.metrics import Metrics
from tests.fakes.status_source import FakeStatusSource


def samples(metrics: Metrics) -> dict[tuple[str, frozenset], float]:
    text = metrics.exposition()[0].decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[name, frozenset(labels.items())]


def test_every_name_has_the_prefix_and_no_unit_but_a_base_unit():
    names = Metrics("0.1.0").names()
    assert names
    for name in names:
        assert re.fullmatch(r"sdv_node_[a-z_]+", name)
        assert not re.search(r"_(ms|milliseconds|minutes|mb|kb|percent)(_|$)", name)


def test_every_sample_that_is_exposed_is_a_known_name():
    metrics = Metrics("0.1.0")
    metrics.mirror(FakeStatusSource().status())
    metrics.rendered("video", 12)
    exposed = {name for name, _ in samples(metrics) if not name.endswith("_created")}
    assert exposed <= metrics.names()


def test_what_the_rooms_report_is_counted():
    metrics = Metrics("0.1.0")
    metrics.offer_seen()
    metrics.offer_refused("price_too_low")
    metrics.job_finished("PAID")
    metrics.transaction("mined")
    metrics.gas_spent(21_000 * 10**9)
    metrics.paid(2 * 10**18)
    metrics.rpc_error("timeout")
    metrics.worker_restarted()
    metrics.rendered("video", 12.5)
    metrics.published(1.5)
    assert value(metrics, "sdv_node_offers_seen_total") == 1
    assert value(metrics, "sdv_node_offers_refused_total", reason="price_too_low") == 1
    assert value(metrics, "sdv_node_jobs_finished_total", phase="paid") == 1
    assert value(metrics, "sdv_node_transactions_total", status="mined") == 1
    assert value(metrics, "sdv_node_gas_spent_wei_total") == 21_000 * 10**9
    assert value(metrics, "sdv_node_paid_wei_total") == 2 * 10**18
    assert value(metrics, "sdv_node_rpc_errors_total", kind="timeout") == 1
    assert value(metrics, "sdv_node_worker_restarts_total") == 1
    assert value(metrics, "sdv_node_render_seconds_sum", stage="video") == 12.5
    assert value(metrics, "sdv_node_publish_seconds_count") == 1
    assert value(metrics, "sdv_node_build_info", version="0.1.0") == 1


def test_a_label_takes_few_plain_values_and_the_rest_is_other():
    metrics = Metrics("0.1.0")
    for number in range(1000):
        metrics.offer_refused(f"reason_{number}")
    metrics.offer_refused("0x" + "ab" * 32)
    metrics.offer_refused("a sentence\nwith a line break")
    metrics.offer_refused("reason_0")
    reasons = {dict(labels)["reason"] for name, labels in samples(metrics) if name.endswith("refused_total")}
    assert len(reasons) == 41
    assert value(metrics, "sdv_node_offers_refused_total", reason="reason_0") == 2
    assert value(metrics, "sdv_node_offers_refused_total", reason="other") == 962


def test_gauges_follow_the_status_and_forget_what_is_gone():
    metrics = Metrics("0.1.0")
    source = FakeStatusSource()
    source.add_job("one")
    metrics.mirror(source.status())
    assert value(metrics, "sdv_node_jobs_in_phase", phase="agreed") == 1
    assert value(metrics, "sdv_node_gpu_memory_bytes", gpu="0", kind="total") == 24 << 30
    assert value(metrics, "sdv_node_gpu_utilisation_ratio", gpu="0") == 0.97
    assert value(metrics, "sdv_node_gpus") == 1
    assert value(metrics, "sdv_node_gas_balance_wei") == 10**18 / 4
    source.fail("j1", "broken")
    source.set_status(gpus=[], chain={**source.status()["chain"], "head": None})
    metrics.mirror(source.status())
    now = samples(metrics)
    assert ("sdv_node_jobs_in_phase", frozenset({("phase", "agreed")})) not in now
    assert not [name for name, _ in now if name.startswith("sdv_node_gpu_")]
    assert value(metrics, "sdv_node_gpus") == 0
    assert str(value(metrics, "sdv_node_head_block")) == "nan"


def test_an_unsupported_gpu_reading_has_no_sample_rather_than_a_zero():
    metrics = Metrics("0.1.0")
    source = FakeStatusSource()
    gpu = {**source.status()["gpus"][0], "utilisation_percent": None, "temperature_c": None, "power_w": None}
    metrics.mirror({**source.status(), "gpus": [gpu]})
    names = {name for name, _ in samples(metrics)}
    assert "sdv_node_gpu_memory_bytes" in names
    assert not names & {"sdv_node_gpu_utilisation_ratio", "sdv_node_gpu_temperature_celsius"}


def test_a_status_of_a_node_that_is_still_starting_is_enough():
    metrics = Metrics("0.1.0")
    metrics.mirror({"chain": None, "gpus": None})
    assert value(metrics, "sdv_node_gpus") == 0


def test_no_job_deal_or_wallet_is_a_label():
    metrics = Metrics("0.1.0")
    source = FakeStatusSource()
    source.add_job("one")
    metrics.mirror(source.status())
    labels = {name for _, pairs in samples(metrics) for name, _ in pairs}
    assert labels <= {"version", "reason", "phase", "status", "stage", "kind", "gpu", "le"}
