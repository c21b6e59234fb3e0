"""``sdv-node config``: which settings are in force and where each is from; made, checked and changed."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from node.cli.config_check import check, set_
from node.cli.config_init import init
from node.cli.context import load_layers, print_json, shown_address, tokens

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


@click.group()
def config() -> None:
    """Make, check, change and show the settings.

    \b
    Example:
      sdv-node config init
      sdv-node config set pricing.floor 2
      sdv-node config check
    """


for command in (init, check, set_):
    config.add_command(command)


@config.command()
@click.option("--origin", "with_origin", is_flag=True, help="Tell where each value is from.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; amounts in wei.")
@click.pass_context
def show(ctx: click.Context, with_origin: bool, as_json: bool) -> None:
    """Print every setting after defaults, file, environment and flags.

    \b
    Example:
      sdv-node --set pricing.floor=2 config show
      sdv-node config show --origin
    """
    from rich.console import Console

    settings, layers = load_layers(ctx)
    document = settings.model_dump(mode="json")
    _hide_credentials(document)
    if as_json and not with_origin:
        print_json(document)
        return
    if as_json:
        listed = ((name, key, value) for name, values in document.items() for key, value in values.items())
        print_json(
            [
                {"section": name, "key": key, "value": value, "origin": asdict(layers.origin((name, key)))}
                for name, key, value in listed
            ]
        )
        return
    console = Console(highlight=False, soft_wrap=True)
    for section, values in document.items():
        fields = type(getattr(settings, section)).model_fields
        console.print(f"[bold]\\[{section}][/bold]")
        for key, value in values.items():
            line = f"  {key} = {_shown((section, key), fields[key], value)}"
            whence = ", ".join(map(str, layers.origins_below((section, key)))) or "default"
            console.print(f"{line:<48}  # {whence}" if with_origin else line, markup=False)


def _shown(names: tuple[str, str], field: "FieldInfo", value: Any) -> Any:
    from node.setting_types import Unit

    if names == ("pricing", "modules"):
        return {module: _shown_prices(prices) for module, prices in value.items()}
    unit = next((mark for mark in field.metadata if isinstance(mark, Unit)), None)
    return f"{tokens(value)} {unit.name}" if unit else value


def _shown_prices(prices: Mapping[str, int | None]) -> dict[str, str]:
    """Return a module's own prices in whole tokens."""
    return {name: f"{tokens(wei)} tokens" for name, wei in prices.items() if wei is not None}


def _hide_credentials(document: dict[str, Any]) -> None:
    """Replace the parts of addresses that hold API keys and passwords."""
    chain, wallet = document["chain"], document["wallet"]
    chain["rpc_urls"] = [shown_address(url) for url in chain["rpc_urls"]]
    if wallet["remote_signer"]:
        wallet["remote_signer"] = shown_address(wallet["remote_signer"])
