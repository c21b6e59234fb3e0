"""``sdv-node wallet``: the operator's key and its money."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

import click

from node.cli.context import load_config, print_json, tokens
from node.config import Config
from node.errors import Misconfigured, NodeError


class ApprovalFailed(NodeError):
    """The token contract did not take the approval."""


@click.group()
def wallet() -> None:
    """Make a key, see its address and its money, and let the market take collateral."""


@wallet.command()
@click.option(
    "--password-file", type=click.Path(path_type=Path), metavar="FILE", help="Read, or made if missing."
)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def new(ctx: click.Context, password_file: Path | None, as_json: bool) -> None:
    """Make a new key in a keystore that only you can read.

    Without a password file one is made with a random password, beside the keystore.

    \b
    Example:
      sdv-node wallet new
    """
    from node.chain.keystore import create_keystore

    config = load_config(ctx)
    keystore = config.keystore_path
    if keystore.exists():
        raise Misconfigured(f"{keystore} exists already: a key is never overwritten")
    keystore.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    password_path = password_file or config.password_path or keystore.with_name("password")
    password = _password(password_path)
    address = create_keystore(keystore, password)
    if as_json:
        print_json({"address": address, "keystore": str(keystore), "password_file": str(password_path)})
        return
    click.echo(f"address   {address}")
    click.echo(f"keystore  {keystore}")
    click.echo(f"password  {password_path}")
    click.echo("Back both files up: whoever has them has the money, and without them it is gone.")
    if config.password_path is None:
        click.echo(f'Then set it:  [wallet] password_file = "{password_path}"')


@wallet.command()
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Print the address and where the key lies. Needs no password and no network.

    \b
    Example:
      sdv-node wallet show
    """
    from node.chain.keystore import keystore_address

    config = load_config(ctx)
    document = {"address": keystore_address(config.keystore_path), "keystore": str(config.keystore_path)}
    if as_json:
        print_json(document)
    else:
        click.echo(f"address   {document['address']}\nkeystore  {document['keystore']}")


@wallet.command()
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def balance(ctx: click.Context, as_json: bool) -> None:
    """Print what the wallet owns and how much of it the market may take.

    \b
    Example:
      sdv-node wallet balance --json
    """
    document = asyncio.run(_balance(load_config(ctx)))
    if as_json:
        print_json(document)
        return
    click.echo(f"address    {document['address']}")
    click.echo(f"gas        {tokens(document['gas_wei'])}")
    click.echo(f"tokens     {tokens(document['token_wei'])} {document['symbol']}")
    click.echo(f"allowance  {tokens(document['allowance_wei'])} {document['symbol']}")


@wallet.command()
@click.argument("amount", metavar="TOKENS")
@click.pass_context
def approve(ctx: click.Context, amount: str) -> None:
    """Let the market take up to TOKENS as collateral. 0 takes the permission back. Stop the node first.

    \b
    Example:
      sdv-node wallet approve 100
    """
    from node.config import DealSection, load

    config = load_config(ctx)
    checked = load(environment={}, overrides={"deal": {"timeout_collateral": amount}})
    section: DealSection = checked.deal
    tx_hash = asyncio.run(_approve(config, section.timeout_collateral))
    click.echo(f"the market may take {amount} tokens, transaction {tx_hash}")


def _password(path: Path) -> str:
    if path.exists():
        return path.read_text().rstrip("\r\n")
    password = secrets.token_urlsafe(32)
    path.touch(mode=0o600)
    path.write_text(password)
    return password


async def _balance(config: Config) -> dict[str, Any]:
    from node.app import open_market
    from node.chain.keystore import keystore_address

    address = keystore_address(config.keystore_path)
    async with open_market(config.chain) as market:
        payments = market.contracts.addresses.payments
        return {
            "address": address,
            "symbol": await market.contracts.token_symbol(),
            "gas_wei": str(await market.chain.balance(address)),
            "token_wei": str(await market.contracts.token_balance(address)),
            "allowance_wei": str(await market.contracts.token_allowance(address, payments)),
        }


async def _approve(config: Config, amount_wei: int) -> str:
    from node.app import open_market
    from node.app.parties import wallet_transactions
    from node.chain.txmanager import Failed, TxIntent
    from node.types import Wei

    async with open_market(config.chain) as market, wallet_transactions(config, market) as transactions:
        head = await market.chain.head()
        call = market.contracts.approve(market.contracts.addresses.payments, Wei(amount_wei))
        outcome = await transactions.send(TxIntent(f"approve:{amount_wei}:{head.number}", call))
        if isinstance(outcome, Failed):
            raise ApprovalFailed(f"the token contract refused: {outcome.reason}")
        return outcome.tx_hash
