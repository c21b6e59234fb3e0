"""Every metric has a prefix and a base unit, no label grows without end, and gauges follow the status."""

import re

from prometheus_client.parser import text_string_to_metric_families

from node.gpu.readings import GpuProcess
from node.observe.metrics import Metrics
from tests.fakes.gpus import card
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
    metrics.worker_died("hang")
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
    assert value(metrics, "sdv_node_worker_deaths_total", cause="hang") == 1
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
    left = {name for name, _ in now if name.startswith("sdv_node_gpu_")}
    assert left == {"sdv_node_gpu_xid_errors_total"}, "a counter must not begin anew with its GPU"
    assert value(metrics, "sdv_node_gpus") == 0
    assert str(value(metrics, "sdv_node_head_block")) == "nan"


def test_what_deals_hold_and_owe_is_shown_and_unknown_before_it_was_read():
    metrics = Metrics("0.1.0")
    metrics.mirror({})
    assert str(value(metrics, "sdv_node_claimable_wei")) == "nan"
    earnings = {"locked_timeout_wei": "1", "locked_results_wei": "2", "claimable_wei": "3", "net_wei": "-4"}
    metrics.mirror({"earnings": earnings})
    assert value(metrics, "sdv_node_locked_wei", kind="timeout") == 1
    assert value(metrics, "sdv_node_locked_wei", kind="results") == 2
    assert value(metrics, "sdv_node_claimable_wei") == 3
    assert value(metrics, "sdv_node_net_wei") == -4


def test_an_unsupported_gpu_reading_has_no_sample_rather_than_a_zero():
    metrics = Metrics("0.1.0")
    source = FakeStatusSource()
    gpu = {**source.status()["gpus"][0], "utilisation_percent": None, "temperature_c": None, "power_w": None}
    metrics.mirror({**source.status(), "gpus": [gpu]})
    names = {name for name, _ in samples(metrics)}
    assert "sdv_node_gpu_memory_bytes" in names
    assert not names & {"sdv_node_gpu_utilisation_ratio", "sdv_node_gpu_temperature_celsius"}


def test_each_card_is_told_with_what_it_is_kept_from_and_by_what():
    metrics = Metrics("0.1.0")
    gpu = card(
        memory_free_bytes=5,
        throttle_reasons=("too hot (slowed down by the driver)",),
        other_processes=(GpuProcess(1, 2),),
    )
    told = gpu.to_json() | {
        "usable": False,
        "promised_bytes": 7,
        "shut": [{"cause": "hot", "reason": "it is hot"}, {"cause": "memory", "reason": "it is full"}],
    }
    metrics.mirror({"gpus": [told], "gpu_gate": {"open": False, "in_hours": True}})
    metrics.gpu_errors("0", 2)
    assert value(metrics, "sdv_node_gpus_open") == 0
    assert value(metrics, "sdv_node_gpus_lent") == 1
    assert value(metrics, "sdv_node_gpu_usable", gpu="0") == 0
    assert value(metrics, "sdv_node_gpu_shut", gpu="0", cause="hot") == 1
    assert value(metrics, "sdv_node_gpu_shut", gpu="0", cause="memory") == 1
    assert value(metrics, "sdv_node_gpu_throttled", gpu="0", reason="too_hot_slowed_down_by_the_driver") == 1
    assert value(metrics, "sdv_node_gpu_clock_hertz", gpu="0", clock="sm") == 210_000_000
    assert value(metrics, "sdv_node_gpu_slowdown_temperature_celsius", gpu="0") == 93
    assert value(metrics, "sdv_node_gpu_power_limit_watts", gpu="0") == 450
    assert value(metrics, "sdv_node_gpu_ecc_uncorrected_errors", gpu="0") == 0
    assert value(metrics, "sdv_node_gpu_other_processes", gpu="0") == 1
    assert value(metrics, "sdv_node_gpu_promised_bytes", gpu="0") == 7
    assert value(metrics, "sdv_node_gpu_memory_bytes", gpu="0", kind="free") == 5
    assert value(metrics, "sdv_node_gpu_xid_errors_total", gpu="0") == 2
    metrics.mirror({"gpus": [told | {"shut": [], "usable": True}], "gpu_gate": {"open": True}})
    assert value(metrics, "sdv_node_gpus_open") == 1
    assert not [name for name, _ in samples(metrics) if name == "sdv_node_gpu_shut"]


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
    of_jobs = {"reason", "phase", "status", "stage", "kind", "le"}
    assert labels <= of_jobs | {"version", "endpoint", "gpu", "clock", "cause", "state", "by", "outcome"}


def test_each_endpoint_has_its_own_gauge_and_one_that_is_gone_has_none():
    metrics = Metrics("0.1.0")
    source = FakeStatusSource()
    metrics.mirror(source.status())
    up = "sdv_node_rpc_endpoint_up"
    assert value(metrics, up, endpoint="https://rpc.example.org") == 1
    assert value(metrics, up, endpoint="wss://other.example.org") == 0
    metrics.mirror({"chain": {"endpoints": []}})
    assert not [name for name, _ in samples(metrics) if name == up]
