"""``sdv-node offer``: the published terms on which requesters hire this node directly."""

import asyncio
import json
from typing import Any

import click
from rich.table import Table

from node.cli.context import keep_output_clean, load_config, print_json, tokens, wide_console
from node.cli.unlocking import typed_key
from node.config import Config


@click.group()
def offer() -> None:
    """Show, publish or withdraw the terms on which requesters can hire this node directly.

    A running node publishes its offer by itself and keeps it fresh; these commands look and decide.

    \b
    Example:
      sdv-node offer show
    """


@offer.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Show the offer as the market sees it, and why there is none. Sends nothing.

    \b
    Example:
      sdv-node offer show
      sdv-node offer show --json | jq -r .document
    """
    from node.app.announce import SHOW

    _print(_carry_out(load_config(ctx), SHOW), as_json=as_json)


@offer.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def publish(ctx: click.Context, as_json: bool) -> None:
    """Sign the offer anew if it changed, record it on chain, and make a withdrawn one stand again.

    A node that runs does it itself; without one this command does, and requesters can read the offer as soon
    as the node is started.

    \b
    Example:
      sdv-node offer publish
    """
    from node.app.announce import PUBLISH

    _print(_carry_out(load_config(ctx), PUBLISH), as_json=as_json)


@offer.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def withdraw(ctx: click.Context, as_json: bool) -> None:
    """Take the offer back: out of the record and out of the list, until you publish it again.

    Deals that were agreed are finished. The node goes on proposing to jobs that are posted; to stop that too,
    stop the node, or set market.modules.

    \b
    Example:
      sdv-node offer withdraw
    """
    from node.app.announce import WITHDRAW

    _print(_carry_out(load_config(ctx), WITHDRAW), as_json=as_json)


def _carry_out(config: Config, verb: str) -> dict[str, Any]:
    from node.app.announce import SHOW
    from node.app.control import ask_running_node
    from node.app.offer_commands import carry_out

    keep_output_clean(config)
    done = asyncio.run(ask_running_node(config.node.directory, verb))
    if done is not None:
        return done
    key = None if verb == SHOW else typed_key(config)
    return asyncio.run(carry_out(config, verb, key))


def _print(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    table = Table.grid(padding=(0, 2))
    table.add_row("offer", told["state"] + (f": {told['reason']}" if told["reason"] else ""))
    table.add_row("provider", told["provider"])
    table.add_row("address", told["url"] or "none recorded")
    table.add_row("listed", "yes" if told["listed"] else "no")
    if told["cid"]:
        table.add_row("document", told["cid"])
    if told["document"]:
        for name, text in _terms(json.loads(told["document"]), told["valid_for_s"]):
            table.add_row(name, text)
    wide_console().print(table)


def _terms(document: dict[str, Any], valid_for_s: int) -> list[tuple[str, str]]:
    pricing, timeouts = document["pricing"], document["timeouts"]
    amounts = {name: tokens(pricing[name]) for name in ("floor", "per_job", "per_step", "mediation_fee")}
    return [
        ("good for", f"{valid_for_s / 3600:.1f} hours"),
        ("modules", ", ".join(module["tag"] for module in document["modules"])),
        ("price", f"{amounts['per_job']} a job + {amounts['per_step']} a step, at least {amounts['floor']}"),
        ("collateral", f"{tokens(timeouts['submit_results']['collateral'])} of both sides"),
        ("deadline", f"{timeouts['submit_results']['timeout']} s from agreement to result"),
        ("mediators", ", ".join(document["mediators"])),
        ("class", document["determinism_class"] or "not known yet"),
    ]
