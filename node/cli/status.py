"""``sdv-node status``: the running node in one screen."""

from typing import Any

import click
from rich.table import Table

from node.cli.api import get_json, node_url
from node.cli.context import load_config, print_json, tokens, wide_console


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the whole status as JSON.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show what the running node is doing.

    \b
    Example:
      sdv-node status
      sdv-node status --json | jq .worker
    """
    config = load_config(ctx)
    _, document = get_json(config.http, "/api/v1/status")
    if as_json:
        print_json(document)
        return
    show_status(document, node_url(config.http))


def show_status(document: dict[str, Any], url: str) -> None:
    """Print the status for people."""
    chain = document.get("chain") or {}
    wallet = document.get("wallet") or {}
    worker = document.get("worker") or {}
    symbol = chain.get("symbol", "tokens")
    table = Table.grid(padding=(0, 2))
    table.add_row("node", f"{document['version']}, dashboard at {url}")
    state = (
        "yes" if document.get("accepting") else "no: " + "; ".join(document.get("not_accepting_because", []))
    )
    table.add_row("accepting jobs", state)
    reached = "connected" if chain.get("rpc_ok") else f"not reached: {chain.get('problem')}"
    head = "no block read yet" if chain.get("head") is None else f"at block {chain['head']}"
    table.add_row("chain", f"{chain.get('chain_id')}, {head}, {reached}")
    if wallet:
        table.add_row("wallet", wallet["address"])
        table.add_row("", f"{tokens(wallet['token_wei'])} {symbol}, {tokens(wallet['gas_wei'])} for gas")
    table.add_row("worker", f"{worker.get('profile')}: {worker.get('state')}")
    for gpu in document.get("gpus") or []:
        memory = f"{gpu['memory_free_bytes'] / 2**30:.1f} of {gpu['memory_total_bytes'] / 2**30:.1f} GiB free"
        table.add_row(f"GPU {gpu['index']}", f"{gpu['name']}, {memory}")
    if document.get("gpu_problem"):
        table.add_row("GPU", document["gpu_problem"])
    counts = document.get("jobs", {}).get("by_phase", {})
    table.add_row(
        "jobs", ", ".join(f"{count} {phase}" for phase, count in sorted(counts.items())) or "none yet"
    )
    earnings = document.get("earnings") or {}
    if earnings:
        table.add_row("earned", f"{tokens(earnings['paid_wei'])} {symbol}")
    wide_console().print(table)
