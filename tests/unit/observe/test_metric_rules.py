"""Every metric follows Prometheus's own rules for names: unit, suffix, help and labels."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from node.observe.metrics import Metrics
from tests.unit.observe.exposed import exposed_metrics

BASE_UNITS = ("seconds", "bytes", "ratio", "celsius", "hertz", "watts")
EXACT_UNITS = ("wei", "blocks", "deals")
"""Counted in whole: the chain's own unit of money, and blocks and deals, which have no smaller one."""
NOT_BASE = re.compile(
    r"_(ms|us|ns|millis\w*|micros\w*|nanos\w*|minutes?|hours?|days?|kb|kib|mb|mib|gb|gib|bits?|percent|pct|"
    r"mhz|ghz|khz|milliwatts?|kelvin|fahrenheit|ether|gwei)(_|$)"
)
TYPES_IN_NAMES = re.compile(r"_(gauge|counter|histogram|summary|untyped|info_total)(_|$)")
IDENTITIES = {"job", "job_id", "deal", "deal_id", "wallet", "address", "account", "requester", "tx", "cid"}


@pytest.fixture(scope="module")
def families():
    text = exposed_metrics().exposition()[0].decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_each_metric_has_the_prefix_a_plain_name_and_a_help_sentence(families):
    assert len(families) > 70
    for name, family in families.items():
        assert re.fullmatch(r"sdv_node(_[a-z0-9]+)+", name), name
        assert re.match("[A-Z1]", family.documentation), name
        assert family.documentation.endswith("."), name


def test_units_are_base_units_and_stand_at_the_end(families):
    for name, family in families.items():
        assert not NOT_BASE.search(name), name
        parts = name.removesuffix("_total").split("_")
        for unit in (*BASE_UNITS, *EXACT_UNITS):
            if unit in parts and not (unit == "blocks" and family.type == "counter"):
                assert parts[-1] == unit or name == "sdv_node_gpu_clock_hertz", name
        if "timestamp" in parts:
            assert name.endswith("_timestamp_seconds"), name


def test_counters_end_in_total_and_nothing_else_does(families):
    for name, family in families.items():
        samples = {sample.name for sample in family.samples}
        if family.type == "counter":
            assert samples <= {f"{name}_total"}, name
        else:
            assert not name.endswith(("_total", "_count", "_sum", "_bucket")), name
        assert not TYPES_IN_NAMES.search(name), name
        assert family.type != "unknown", name


def test_labels_are_plain_few_and_never_who_or_which_job(families):
    for family in families.values():
        for sample in family.samples:
            labels = set(sample.labels)
            assert not labels & IDENTITIES, sample
            assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in labels), sample
            assert "le" not in labels or family.type == "histogram", sample
        assert len({tuple(sorted(sample.labels.items())) for sample in family.samples}) < 200


def test_a_label_is_not_in_the_name_as_well(families):
    for name, family in families.items():
        parts = set(name.removeprefix("sdv_node_").split("_"))
        for sample in family.samples:
            assert not (parts & (set(sample.labels) - {"gpu", "endpoint", "place", "clock", "phase"})), sample


def test_operation_gauges_tell_what_the_status_says_and_nothing_of_what_is_not_known():
    metrics = exposed_metrics()
    text = metrics.exposition()[0].decode()
    for line in (
        "journal_waits 0.0",
        "open_transactions 1.0",
        "oldest_transaction_age_seconds 2.5",
        "deadline_slack_seconds 3000.5",
        "gas_balance_deals 41.0",
        "jobs_waiting 2.0",
        "offer_published 1.0",
        "results_damaged 1.0",
        'place_up{place="bitswap"} 0.0',
        'copies_waiting{place="kubo"} 2.0',
        'rpc_endpoint_lag_blocks{endpoint="wss://other.example.org"} 1000.0',
    ):
        assert f"sdv_node_{line}\n" in text
    assert 'place_up{place="kubo"}' not in text, "it was not tried yet"
    metrics.mirror({"offer": {"state": "draining"}})
    text = metrics.exposition()[0].decode()
    for name in ("journal_waits", "deadline_slack_seconds", "offer_published", "results_damaged", "draining"):
        assert f"sdv_node_{name} NaN\n" in text
    assert "sdv_node_place_up{" not in text


def test_a_counter_that_an_alert_reads_is_zero_before_its_first_event():
    text = Metrics("0.1.0").exposition()[0].decode()
    for line in (
        'jobs_finished_total{phase="failed"}',
        'transactions_total{status="reverted"}',
        'foreign_transactions_total{by="another_node"}',
        'copies_total{outcome="failed"}',
        "worker_restarts_total",
    ):
        assert f"sdv_node_{line} 0.0" in text
