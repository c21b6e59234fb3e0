"""The shipped alert rules and the Grafana dashboard speak of metrics that exist, with labels they have."""

import json
import re

import pytest

from node.observe.metrics import Metrics
from node.publisher.p2p.embedded import PeerStats
from node.resources import data_path
from tests.fakes.status_source import FakeStatusSource

METRIC = re.compile(r"\bsdv_node_[a-z_]+\b")
SELECTOR = re.compile(r"\b(sdv_node_[a-z_]+)\{([^}]*)\}")


def expressions() -> list[str]:
    rules = data_path("config/prometheus/alerts.yml").read_text()
    alerts = re.findall(r"^\s+expr: (.+)$", rules, re.MULTILINE)
    dashboard = json.loads(data_path("config/grafana/node.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [item["query"] for item in dashboard["templating"]["list"] if item["type"] == "query"]
    assert len(alerts) == rules.count("- alert:")
    return alerts + panels + variables


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_names_only_metrics_that_exist(expression):
    named = set(METRIC.findall(expression))
    assert named or expression == 'up{job="sdv-node"} == 0'
    assert named <= Metrics("0.1.0").names()


def test_labels_in_selectors_are_labels_of_that_metric():
    metrics = Metrics("0.1.0")
    source = FakeStatusSource()
    source.add_job("one")
    (gpu,) = source.status()["gpus"]
    hot = {"shut": [{"cause": "hot", "reason": "it is hot"}], "throttle_reasons": ["power limit"]}
    ipfs = {"enabled": True, "problem": None, "restarts": 0} | dict.fromkeys(
        PeerStats.__dataclass_fields__, 0
    )
    source.set_status(gpus=[gpu | hot], ipfs=ipfs)
    metrics.mirror(source.status())
    metrics.gpu_errors("0", 1)
    metrics.offer_refused("a")
    metrics.job_finished("PAID")
    metrics.transaction("mined")
    metrics.rpc_error("timeout")
    metrics.foreign_transaction("another_node")
    metrics.rendered("video", 1)
    metrics.copy_made("stored")
    metrics.worker_died("hang")
    metrics.case_ended("reject")
    labels: dict[str, set[str]] = {}
    for metric in metrics.registry.collect():
        for sample in metric.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    for expression in expressions():
        for name, selector in SELECTOR.findall(expression):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) - {"instance"}
            assert asked <= labels[name], (name, asked)


def test_every_alert_says_what_to_do():
    rules = data_path("config/prometheus/alerts.yml").read_text()
    assert rules.count("- alert:") == rules.count("summary:") == rules.count("action:")
    assert rules.count("- alert:") == rules.count("severity:")


def test_every_metric_of_a_job_market_node_has_a_panel_or_an_alert():
    shown = {name for expression in expressions() for name in METRIC.findall(expression)}
    own = {name for name in Metrics("0.1.0").names() if not name.startswith("sdv_node_process_")}
    unseen = own - shown - {"sdv_node_token_balance_wei", "sdv_node_render_seconds_sum"}
    assert unseen == {"sdv_node_render_seconds_count", "sdv_node_publish_seconds_bucket"}
