"""``sdv-node drain``: finish what was agreed and take nothing new."""

import asyncio
from functools import partial
from typing import Any

import click

from node.cli.context import keep_output_clean, load_config, print_json
from node.config import Config
from node.errors import Unreachable

LOOK_EVERY_S = 2.0


@click.command()
@click.option("--wait", is_flag=True, help="Return when all that was agreed, or may still be, is delivered.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def drain(ctx: click.Context, wait: bool, as_json: bool) -> None:
    """Have the node finish the jobs it agreed to and take no new ones, until `sdv-node resume`.

    It is remembered across restarts. Results go on chain as usual; afterwards the node may be stopped without
    missing a deadline of its own, but start it again to be paid for what is not accepted yet. The published
    offer is taken back meanwhile.

    \b
    Example:
      sdv-node drain --wait && systemctl stop sdv-node
    """
    from node.app.drain import left_words

    config = load_config(ctx)
    keep_output_clean(config)
    done = asyncio.run(_drain(config, wait=wait, quiet=as_json))
    if as_json:
        print_json(done)
    elif done["undelivered"]:
        click.echo(f"draining; {left_words(done)} ({', '.join(done['jobs'])})")
    else:
        click.echo(f"draining; {left_words(done)}")


async def _drain(config: Config, *, wait: bool, quiet: bool) -> dict[str, Any]:
    from node.app.control import ask_running_node
    from node.app.drain import DRAIN, LOOK, drain_stopped, left_words, tell

    done = await tell(config, DRAIN, partial(drain_stopped, config))
    if not done["running"]:
        if wait and done["undelivered"]:
            raise Unreachable(
                f"the node does not run: {left_words(done)} ({', '.join(done['jobs'])}); start it, "
                "it takes no new ones"
            )
        return done
    before = ""
    while wait and done["undelivered"]:
        if (words := left_words(done)) != before and not quiet:
            before = words
            click.echo(words, err=True)
        await asyncio.sleep(LOOK_EVERY_S)
        answer = await ask_running_node(config.node.directory, LOOK)
        if answer is None:
            raise Unreachable(f"the node stopped: {left_words(done)}; start it, it takes no new ones")
        done = answer
    return done
