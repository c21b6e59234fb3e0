"""``sdv-node wallet balance``: what the wallet owns, what deals hold of it, and what is due to it."""

import asyncio
import time
from typing import Any

import click

from node.cli.context import load_config, print_json, tokens


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, amounts in wei as text.")
@click.pass_context
def balance(ctx: click.Context, as_json: bool) -> None:
    """Print what the wallet owns, what is locked in deals, what can be claimed, and what is promised.

    Balances come from the chain, the rest from the journal, whether the node runs or not.

    \b
    Example:
      sdv-node wallet balance
      sdv-node wallet balance --json | jq -r .locked.total_wei
    """
    from node.app.money import wallet_money

    document = asyncio.run(wallet_money(load_config(ctx)))
    if as_json:
        print_json(document)
    else:
        _tell(document)


def _tell(document: dict[str, Any]) -> None:
    symbol = document["symbol"]
    locked = document["locked"]
    click.echo(f"address    {document['address']}")
    spent = tokens(document["gas_spent_wei"])
    click.echo(f"gas        {tokens(document['gas_wei'])}, {spent} spent on this node's jobs")
    click.echo(f"tokens     {tokens(document['token_wei'])} {symbol}")
    click.echo(f"allowance  {tokens(document['allowance_wei'])} {symbol}")
    click.echo(
        f"locked     {tokens(locked['total_wei'])} {symbol} in deals "
        f"(timeout {tokens(locked['timeout_wei'])}, results {tokens(locked['results_wei'])})"
    )
    click.echo(f"promised   {tokens(document['promised_wei'])} {symbol} that open deals may still take")
    click.echo(f"claimable  {tokens(document['claimable_wei'])} {symbol} now")
    for claim in document["claims"]:
        if not claim["due"]:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(claim["due_at"]))
            amount = tokens(claim["amount_wei"])
            click.echo(f"           {amount} {symbol} of {claim['job_id']} after {at} ({claim['kind']})")
    click.echo(f"earned     {tokens(document['earned_wei'])} {symbol}, net {tokens(document['net_wei'])}")
    if document["credit_wei"] != "0":
        credit = tokens(document["credit_wei"])
        click.echo(f"credit     {credit} {symbol} that the token did not deliver: sdv-node wallet withdraw")
