"""``sdv-node doctor``: everything the node needs before it can earn, and what to do where it is missing."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from node.cli.context import keep_output_clean, load_config, print_json
from node.cli.unlocking import typed_key

if TYPE_CHECKING:
    from node.app.checks import Check

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red"), "skipped": ("-", "dim")}


@click.command()
@click.option("--quick", is_flag=True, help="Leave out what takes long: hashing weights, rendering a job.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of the checks.")
@click.pass_context
def doctor(ctx: click.Context, quick: bool, as_json: bool) -> int:
    """Check everything a node needs before it can earn, and say how to mend what is missing.

    A small job is rendered and its CID compared with the one that machines of this kind give; weights are
    hashed; every endpoint, the contracts, wallet, balances, clock, disk, GPU, ports, service and each place
    for results are tried. Ends with 0 if the node could take jobs, 1 if something is missing, 3 if the chain
    was not reached.

    \b
    Example:
      sdv-node doctor
      sdv-node doctor --quick --json
    """
    from node.app.checkup import check_everything

    config = load_config(ctx)
    keep_output_clean(config)
    key = typed_key(config)
    console = Console(highlight=False)
    with _told_what_is_done() as doing:
        checks = asyncio.run(
            check_everything(
                config,
                key,
                quick=quick,
                found=(lambda _: None) if as_json else (lambda check: _show(console, check)),
                doing=doing,
            )
        )
    if as_json:
        print_json([check.to_json() for check in checks])
    else:
        counts = {kind: sum(check.verdict == kind for check in checks) for kind in ("problem", "warning")}
        told = (f"{count or 'no'} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())
        console.print(", ".join(told))
    return max((check.exit_code for check in checks), default=0)


def _show(console: Console, check: "Check") -> None:
    mark, colour = MARKS[check.verdict]
    console.print(Text.assemble((f"{mark} {check.name:<11} ", colour), check.finding), soft_wrap=True)
    if check.remedy:
        console.print(Text(f"              → {check.remedy}"), soft_wrap=True)


@contextmanager
def _told_what_is_done() -> Iterator[Callable[[str], None]]:
    """Give what tells on the terminal what is being looked at; elsewhere it tells nothing."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("looking") as status:
        yield lambda what: status.update(Text(what))
