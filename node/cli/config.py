"""``sdv-node config``: which settings are in force."""

import click
from rich.console import Console

from node.cli.context import load_config, print_json
from node.config import TOKEN_DECIMALS


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
    document = load_config(ctx).model_dump(mode="json")
    if as_json:
        print_json(document)
        return
    console = Console(highlight=False)
    amounts = {"floor", "per_job", "per_step", "mediation_fee", "timeout_collateral", "max_price"}
    for section, values in document.items():
        console.print(f"[bold]\\[{section}][/bold]")
        for key, value in values.items():
            shown = f"{value / 10**TOKEN_DECIMALS:g} tokens" if key in amounts else value
            console.print(f"  {key} = {shown}", markup=False)
