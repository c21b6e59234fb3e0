"""Opening the wallet by hand: the keystore's password typed on the terminal when no setting names it."""

import sys
from typing import TYPE_CHECKING

import click

from node.config import Config

if TYPE_CHECKING:
    from node.chain.signer import Key

ATTEMPTS = 3


def typed_key(config: Config) -> "Key | None":
    """Return the key opened with a typed password, or None where none has to be typed, or nobody can.

    Asked before any event loop runs, so that Ctrl-C works at the prompt. From here on the process writes no
    core file. Raises WrongPassword after ``ATTEMPTS`` wrong ones.
    """
    from node.app.core_files import keep_memory_private

    keep_memory_private()
    if config.wallet.remote_signer or config.password_path is not None:
        return None
    if not config.keystore_path.exists() or not sys.stdin.isatty():
        return None
    from node.app.wallet import wallet_address
    from node.chain.keystore import Password, WrongPassword, load_signer

    click.echo(f"keystore  {config.keystore_path} ({wallet_address(config)})", err=True)
    for attempt in range(1, ATTEMPTS + 1):
        text = click.prompt("password", hide_input=True, err=True)
        try:
            return load_signer(config.keystore_path, Password(text, "what was typed"))
        except WrongPassword as problem:
            if attempt == ATTEMPTS:
                raise
            click.echo(f"{problem}, try again", err=True)
    return None
