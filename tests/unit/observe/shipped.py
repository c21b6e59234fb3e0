"""What is shipped for Prometheus and Grafana, taken apart: alerts, panels, and the expressions in both."""

import json
import re
from typing import Any

import yaml

from node.resources import data_path

METRIC = re.compile(r"\bsdv_node_[a-z_]+\b")
SELECTOR = re.compile(r"\b(sdv_node_[a-z_]+)\{([^}]*)\}")


def alerts() -> list[dict[str, Any]]:
    """Return the alert rules as they stand in the file."""
    (group,) = yaml.safe_load(data_path("config/prometheus/alerts.yml").read_text())["groups"]
    return group["rules"]


def dashboard() -> dict[str, Any]:
    """Return the Grafana dashboard."""
    return json.loads(data_path("config/grafana/node.json").read_text())


def expressions() -> list[str]:
    """Return every PromQL expression of both."""
    shown = dashboard()
    panels = [target["expr"] for panel in shown["panels"] for target in panel["targets"]]
    variables = [item["query"] for item in shown["templating"]["list"] if item["type"] == "query"]
    return [alert["expr"] for alert in alerts()] + panels + variables
