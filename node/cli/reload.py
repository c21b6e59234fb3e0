"""``sdv-node reload``: have the running node take over prices and limits from its settings file."""

import asyncio
from typing import Any

import click

from node.cli.context import keep_output_clean, load_config, print_json
from node.errors import Misconfigured, Unreachable


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def reload(ctx: click.Context, as_json: bool) -> None:
    """Have the running node read its settings file again, without a restart.

    Taken over: prices, the terms of deals, admission's limits, mediators, matching, the GPUs' hours and
    temperatures, and the level of the log. Everything is checked first, and an invalid file changes nothing.
    Settings that need a restart are named and stay as they were. Jobs that are proposed or agreed keep their
    terms; the published offer is renewed.

    \b
    Example:
      sdv-node config set pricing.floor 2 && sdv-node reload
      systemctl reload sdv-node
    """
    try:
        config = load_config(ctx)
    except Misconfigured as problem:
        raise Misconfigured(
            f"nothing was changed, and a node that runs goes on with what it had: {problem}"
        ) from problem
    keep_output_clean(config)
    done = asyncio.run(_reload(config.node.directory))
    if as_json:
        print_json(done)
        return
    for change in done["changed"]:
        click.echo(f"{change['key']}: {_written(change['before'])} -> {_written(change['now'])}")
    if not done["changed"]:
        click.echo(f"nothing that can be taken over has changed in {done['file'] or 'the settings'}")
    for key in done["waiting_for_restart"]:
        click.echo(f"{key} has changed, too, and waits for a restart")
    for warning in done["warnings"]:
        click.echo(f"warning: {warning}", err=True)


async def _reload(directory: Any) -> dict[str, Any]:
    from node.app.control import ask_running_node
    from node.app.reloading import RELOAD

    answer = await ask_running_node(directory, RELOAD)
    if answer is None:
        raise Unreachable(f"no node runs in {directory}: its next start reads the settings anyhow")
    return answer


def _written(value: Any) -> str:
    return "not set" if value in (None, "", []) else str(value)
