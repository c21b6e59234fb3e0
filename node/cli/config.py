"""``sdv-node config``: which settings are in force."""

from typing import Any

import click
from rich.console import Console

from node.cli.context import load_config, print_json, shown_address, tokens
from node.setting_types import Unit


@click.group()
def config() -> None:
    """Show the settings in force."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON; amounts in wei.")
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Print every setting after defaults, file, environment and flags.

    \b
    Example:
      sdv-node --set pricing.floor=2 config show
    """
    settings = load_config(ctx)
    document = settings.model_dump(mode="json")
    _hide_credentials(document)
    if as_json:
        print_json(document)
        return
    console = Console(highlight=False)
    for section, values in document.items():
        fields = type(getattr(settings, section)).model_fields
        console.print(f"[bold]\\[{section}][/bold]")
        for key, value in values.items():
            unit = next((mark for mark in fields[key].metadata if isinstance(mark, Unit)), None)
            shown = f"{tokens(value)} {unit.name}" if unit else value
            if (section, key) == ("pricing", "modules"):
                shown = {module: _shown_prices(prices) for module, prices in value.items()}
            console.print(f"  {key} = {shown}", markup=False)


def _shown_prices(prices: dict[str, int | None]) -> dict[str, str]:
    """Return a module's own prices in whole tokens."""
    return {name: f"{tokens(wei)} tokens" for name, wei in prices.items() if wei is not None}


def _hide_credentials(document: dict[str, Any]) -> None:
    """Replace the parts of addresses that hold API keys and passwords."""
    chain, wallet = document["chain"], document["wallet"]
    chain["rpc_urls"] = [shown_address(url) for url in chain["rpc_urls"]]
    if wallet["remote_signer"]:
        wallet["remote_signer"] = shown_address(wallet["remote_signer"])
