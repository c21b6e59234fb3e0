"""``sdv-node resume``: take jobs again after a drain, or let a node that halted itself start again."""

import asyncio
import sys
from typing import Any

import click

from node.cli.context import load_config, print_json
from node.config import Config
from node.errors import NodeError


class NotConfirmed(NodeError):
    """A halt is cleared only when a person says that its reason is settled."""


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask about a halt.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def resume(ctx: click.Context, yes: bool, as_json: bool) -> None:
    """Have the node take jobs again after `sdv-node drain`, and clear the halt of one that stopped itself.

    A halt, such as for a reorganisation deeper than finality, has a reason to look at first: the node halts
    only where going on could cost money.

    \b
    Example:
      sdv-node resume
      sdv-node resume --yes --json
    """
    config = load_config(ctx)
    running = asyncio.run(_ask(config))
    if running is not None:
        was_draining = running["was_draining"]
        if as_json:
            print_json({"cleared": 0, "reason": None, "was_draining": was_draining})
        else:
            click.echo("the node takes jobs again" if was_draining else "the node was not draining")
        return
    reason = asyncio.run(_standing(config))
    if reason is not None and not yes and (as_json or not sys.stdin.isatty()):
        raise NotConfirmed(
            f"the halt stands: {reason}. Nobody can be asked here: once that is settled, add --yes"
        )
    if reason is not None and not as_json:
        click.echo(f"The node halted itself: {reason}")
    if reason is not None and not yes:
        click.confirm("Is that settled, so that it may go on?", abort=True)
    cleared = 0 if reason is None else asyncio.run(_clear(config))
    was_draining = asyncio.run(_end_drain(config))
    if as_json:
        print_json({"cleared": cleared, "reason": reason, "was_draining": was_draining})
        return
    if was_draining:
        click.echo("the node takes jobs again when it is started: sdv-node start")
    elif reason is not None:
        click.echo("cleared; start the node again: sdv-node start")
    else:
        click.echo("no halt stands, and the node was not draining")


async def _ask(config: Config) -> dict[str, Any] | None:
    from node.app.control import ask_running_node
    from node.app.drain import RESUME

    return await ask_running_node(config.node.directory, RESUME)


async def _end_drain(config: Config) -> bool:
    from node.app.drain import resume_stopped

    return await resume_stopped(config)


async def _standing(config: Config) -> str | None:
    from node.app.parties import open_halts

    with open_halts(config) as halts:
        return await halts.standing()


async def _clear(config: Config) -> int:
    from node.app.parties import open_halts

    with open_halts(config) as halts:
        return await halts.clear()
