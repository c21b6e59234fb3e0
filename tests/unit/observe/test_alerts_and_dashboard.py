"""The shipped alert rules and the Grafana dashboard ask for what exists, and each alert has its runbook."""

import json
import re
import shlex
import shutil
import subprocess

import click
import pytest
import yaml

from node.cli.main import cli
from node.observe.metrics import Metrics
from node.resources import data_path
from tests.unit.observe.exposed import exposed_metrics
from tests.unit.observe.shipped import METRIC, SELECTOR, alerts, dashboard, expressions

RUNBOOK = data_path("docs/runbook.md")


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_names_only_metrics_that_exist(expression):
    named = set(METRIC.findall(expression))
    assert named or expression == 'up{job="sdv-node"} == 0'
    assert named <= Metrics("0.1.0").names()


def test_labels_in_selectors_are_labels_of_that_metric():
    labels: dict[str, set[str]] = {}
    for metric in exposed_metrics().registry.collect():
        for sample in metric.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    for expression in expressions():
        for name, selector in SELECTOR.findall(expression):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) - {"instance"}
            assert asked <= labels[name], (name, asked)


def test_every_metric_of_a_job_market_node_has_a_panel_or_an_alert():
    shown = {name for expression in expressions() for name in METRIC.findall(expression)}
    own = {name for name in Metrics("0.1.0").names() if not name.startswith("sdv_node_process_")}
    kept_for_queries = {
        "sdv_node_token_balance_wei",
        "sdv_node_render_seconds_sum",
        "sdv_node_render_seconds_count",
        "sdv_node_publish_seconds_bucket",
        "sdv_node_worker_load_seconds_bucket",
        "sdv_node_journal_transaction_seconds_sum",
        "sdv_node_journal_transaction_seconds_count",
        "sdv_node_deadline_timestamp_seconds",
    }
    assert own - shown == kept_for_queries


def test_every_alert_has_a_severity_a_summary_a_description_and_a_runbook():
    for alert in alerts():
        assert re.fullmatch(r"SdvNode([A-Z][a-z]+)+", alert["alert"])
        assert alert["labels"]["severity"] in {"critical", "warning"}
        notes = alert["annotations"]
        assert notes.keys() == {"summary", "description", "runbook_url"}
        assert notes["runbook_url"] == f"docs/runbook.md#{alert['alert'].lower()}"
        assert "$labels.instance" in notes["summary"]
        assert all(notes[key].endswith(".") for key in ("summary", "description"))


def test_an_alert_that_compares_with_a_measure_tells_its_value():
    for alert in alerts():
        threshold = re.search(r"(?:<|>|>=)\s*([0-9.e]+)\s*$", alert["expr"].splitlines()[0])
        if threshold and "==" not in alert["expr"]:
            assert "$value" in alert["annotations"]["description"], alert["alert"]


def test_the_runbook_has_a_section_for_each_alert_in_the_same_order():
    text = RUNBOOK.read_text()
    sections = re.findall(r"^## (SdvNode\w+)$", text, re.MULTILINE)
    assert sections == [alert["alert"] for alert in alerts()]
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name, _, body = section.partition("\n")
        if name.startswith("SdvNode"):
            told = re.findall(r"^\*\*(\w+)", body, re.MULTILINE)
            assert told == ["Means", "Look", "Do", "Heals"], name


def test_the_commands_of_the_runbook_are_commands_with_the_options_that_it_gives():
    spans = re.findall(r"`(sdv-node [^`]+)`", RUNBOOK.read_text())
    assert len(set(spans)) > 25
    for span in set(spans):
        command, words = cli, shlex.split(span)[1:]
        while isinstance(command, click.Group):
            command, words = command.get_command(None, words[0]), words[1:]
            assert command is not None, span
        # Raises UsageError for an option that there is not, and for a value that it does not take.
        command.make_context(span, words)


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not():
    cases = yaml.safe_load(data_path("config/prometheus/alerts_test.yml").read_text())["tests"]
    told = {alert["alert"]: alert for alert in alerts()}
    assert [case["name"] for case in cases] == list(told)
    for case in cases:
        (expected,) = case["alert_rule_test"]
        fires = {alert["exp_labels"]["instance"] for alert in expected["exp_alerts"]}
        given = {re.search(r'instance="(\w+)"', row["series"])[1] for row in case["input_series"]}
        assert "night" in fires
        assert "day" in given - fires
        named = {
            METRIC.search(row["series"])[0] for row in case["input_series"] if "sdv_node" in row["series"]
        }
        assert named <= set(METRIC.findall(told[case["name"]]["expr"]))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_prometheus_takes_the_rules_and_finds_each_alert_as_its_case_says():
    folder = data_path("config/prometheus")
    for words in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_prometheus_own_check_of_names_finds_nothing():
    text = exposed_metrics().exposition()[0]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_panels_of_the_dashboard_have_a_place_of_their_own():
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    assert json.loads(data_path("config/grafana/node.json").read_text()) == dashboard()
