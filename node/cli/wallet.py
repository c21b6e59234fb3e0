"""``sdv-node wallet``: the operator's key and its money."""

import secrets
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.context import load_config, print_json, shown_address
from node.cli.wallet_balance import balance
from node.cli.wallet_spend import approve, withdraw
from node.config import Config
from node.errors import Misconfigured

if TYPE_CHECKING:
    from node.chain.keystore import Password

MAX_STDIN = 20_000


@click.group()
def wallet() -> None:
    """Make or import a key, see its money, let the market take collateral, withdraw earnings.

    \b
    Example:
      sdv-node wallet new
      sdv-node wallet balance
    """


wallet.add_command(balance)


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
    config = load_config(ctx)
    refuse_overwriting(config)
    _tell_keystore(config, make_keystore(config, password_file, None), as_json=as_json)


@wallet.command()
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Print the address and where the key lies. Needs no password and no network.

    \b
    Example:
      sdv-node wallet show
    """
    from node.app.wallet import wallet_address

    config = load_config(ctx)
    document = {"address": str(wallet_address(config))}
    if config.wallet.remote_signer:
        document["signer"] = shown_address(config.wallet.remote_signer)
    else:
        document["keystore"] = str(config.keystore_path)
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        click.echo(f"{name:<9} {value}")


@wallet.command(name="import")
@click.argument("source", metavar="[FILE]", required=False)
@click.option(
    "--source-password-file", type=click.Path(path_type=Path), metavar="FILE", help="Opens a keystore FILE."
)
@click.option(
    "--password-file", type=click.Path(path_type=Path), metavar="FILE", help="Read, or made if missing."
)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def import_key(
    ctx: click.Context,
    source: str | None,
    source_password_file: Path | None,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Put an existing key into a keystore of this node: FILE holds 64 hex digits, or a version 3 keystore.

    FILE must be readable by you alone; - reads standard input; without FILE the key is typed, unseen. A key
    is never taken from the command line, where every process and the shell's history can see it.

    \b
    Examples:
      sdv-node wallet import
      sdv-node wallet import old-keystore.json --source-password-file old-password
      pass show node-key | sdv-node wallet import -
    """
    from node.app.core_files import keep_memory_private

    keep_memory_private()
    config = load_config(ctx)
    refuse_overwriting(config)

    key = key_from(source, partial(source_password, source_password_file))
    _tell_keystore(config, make_keystore(config, password_file, key), as_json=as_json)


def key_from(source: str | None, ask: "Callable[[], Password]") -> bytes:
    """Return the key in a file, standard input (-) or, for None, typed unseen. ``ask`` opens a keystore."""
    from node.chain.keystore import key_from_text, read_key

    if source is None:
        text = click.prompt("private key (64 hex digits)", hide_input=True, err=True)
        return key_from_text(text, Path("what was typed"), ask)
    if source == "-":
        return key_from_text(sys.stdin.read(MAX_STDIN), Path("standard input"), ask)
    if len(source.removeprefix("0x")) == 64 and not Path(source).exists():
        raise Misconfigured(
            "a private key does not belong on the command line: if it was one, take its money to a new "
            "account, because the shell's history has it now; name a file, or - for standard input"
        )
    return read_key(Path(source), ask)


wallet.add_command(approve)
wallet.add_command(withdraw)


def refuse_overwriting(config: Config) -> None:
    """Raise Misconfigured if there is a key already."""
    if config.keystore_path.exists():
        raise Misconfigured(f"{config.keystore_path} exists already: a key is never overwritten")


def make_keystore(config: Config, password_file: Path | None, key: bytes | None) -> dict[str, str]:
    """Write the keystore, and a password file if there is none; return address, keystore, password_file."""
    from node.chain.keystore import create_keystore

    keystore = config.keystore_path
    keystore.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    password_path = password_file or config.password_path or keystore.with_name("password")
    address = create_keystore(keystore, _password(password_path), key=key)
    return {"address": str(address), "keystore": str(keystore), "password_file": str(password_path)}


def _tell_keystore(config: Config, made: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    click.echo(f"address   {made['address']}")
    click.echo(f"keystore  {made['keystore']}")
    click.echo(f"password  {made['password_file']}")
    click.echo("Back both files up: whoever has them has the money, and without them it is gone.")
    if config.password_path is None:
        click.echo(f'Then set it:  [wallet] password_file = "{made["password_file"]}"')


def source_password(path: Path | None) -> "Password":
    """Return the password of a keystore that is read: from its file, or typed on a terminal."""
    from node.chain.keystore import Password, read_password

    if path is not None:
        return read_password(path)
    if not sys.stdin.isatty():
        raise Misconfigured("the keystore needs its password: name its file with --source-password-file")
    return Password(click.prompt("its password", hide_input=True, err=True), "what was typed")


def _password(path: Path) -> str:
    from node.chain.keystore import read_password

    if path.exists():
        return read_password(path).reveal()
    password = secrets.token_urlsafe(32)
    path.touch(mode=0o600)
    path.write_text(password)
    return password
