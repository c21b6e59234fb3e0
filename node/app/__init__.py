"""The composition root: the only place that builds things and wires them together."""

from node.app.node import run_node
from node.app.parties import journal_reader, open_market, requester

__all__ = ["journal_reader", "open_market", "requester", "run_node"]
