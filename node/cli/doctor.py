"""``sdv-node doctor``: everything the node needs before it can earn, and what to do where it is missing."""

import asyncio

import click
from rich.console import Console
from rich.text import Text

from node.cli.context import keep_output_clean, load_config, print_json
from node.cli.unlocking import typed_key

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red"), "skipped": ("-", "dim")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of the checks.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> int:
    """Check RPC, contracts, wallet, balances, disk, GPU, worker profile and where results are kept.

    Ends with 0 if the node could take jobs, 1 if something is missing, 3 if the chain was not reached.

    \b
    Example:
      sdv-node doctor
    """
    from node.app.checkup import check_everything

    config = load_config(ctx)
    keep_output_clean(config)
    key = typed_key(config)
    checks = asyncio.run(check_everything(config, key))
    if as_json:
        print_json([check.to_json() for check in checks])
    else:
        console = Console(highlight=False)
        for check in checks:
            mark, colour = MARKS[check.verdict]
            line = Text.assemble((f"{mark} {check.name:<11} ", colour), check.finding)
            console.print(line, soft_wrap=True)
            if check.remedy:
                console.print(Text(f"              → {check.remedy}"), soft_wrap=True)
        problems = sum(check.verdict == "problem" for check in checks)
        console.print(f"{problems or 'no'} problem{'' if problems == 1 else 's'}")
    return max((check.exit_code for check in checks), default=0)
