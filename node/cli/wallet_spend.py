"""``sdv-node wallet approve`` and ``withdraw``: carried out by the running node, or here while none runs."""

import asyncio
from typing import TYPE_CHECKING, Any

import click
from pydantic import TypeAdapter, ValidationError

from node.cli.context import load_config, print_json, tokens
from node.cli.unlocking import typed_key
from node.config import Config, what_is_wrong
from node.setting_types import Tokens

if TYPE_CHECKING:
    from node.chain.signer import Key


@click.command()
@click.argument("amount", metavar="TOKENS")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def approve(ctx: click.Context, amount: str, as_json: bool) -> None:
    """Let the market take up to TOKENS as collateral. 0 takes the permission back.

    A node that runs sends it itself; without one this command does.

    \b
    Example:
      sdv-node wallet approve 100
    """
    from node.app.treasury import APPROVE

    done = _carry_out(load_config(ctx), APPROVE, {"amount_wei": str(_wei(amount))})
    if as_json:
        print_json(done)
        return
    click.echo(f"the market may take {amount} tokens, transaction {done['tx_hash']}")


@click.command()
@click.argument("amount", metavar="AMOUNT|all")
@click.option("--gas", is_flag=True, help="Withdraw gas money instead of payment tokens.")
@click.option("--force", is_flag=True, help="Also what open deals and their gas still need.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def withdraw(ctx: click.Context, amount: str, gas: bool, force: bool, as_json: bool) -> None:
    """Send AMOUNT of the payment token to wallet.payout_address, the only place it goes to.

    What open deals may still lock stays in the wallet, and with --gas the gas of admission.min_gas_deals
    whole deals does. A node that runs sends it itself; without one this command does.

    \b
    Examples:
      sdv-node wallet withdraw 12.5
      sdv-node wallet withdraw all
      sdv-node wallet withdraw all --gas
    """
    from node.app.treasury import ALL, WITHDRAW

    order = {
        "amount_wei": ALL if amount.lower() == ALL else str(_wei(amount)),
        "gas": gas,
        "force": force,
    }
    done = _carry_out(load_config(ctx), WITHDRAW, order)
    if as_json:
        print_json(done)
        return
    unit = "of the gas token" if gas else "tokens"
    click.echo(f"{tokens(done['amount_wei'])} {unit} went to {done['to']}, transaction {done['tx_hash']}")


def _wei(amount: str) -> int:
    try:
        return TypeAdapter(Tokens).validate_python(amount)
    except ValidationError as error:
        raise click.UsageError(f"{amount!r}: {what_is_wrong(error.errors()[0])}") from None


def _carry_out(config: Config, verb: str, order: dict[str, Any]) -> dict[str, Any]:
    from node.app.control import ask_running_node
    from node.observe.logging import configure_logging

    # Standard output belongs to the answer; of what happens on the way only troubles are news.
    configure_logging("auto", "warning")
    done = asyncio.run(ask_running_node(config.node.directory, verb, order))
    return asyncio.run(_do_it_here(config, typed_key(config), verb, order)) if done is None else done


async def _do_it_here(config: Config, key: "Key | None", verb: str, order: dict[str, Any]) -> dict[str, Any]:
    from node.app.treasury import own_treasury

    async with own_treasury(config, key) as treasury:
        return await treasury.verbs()[verb](order)
