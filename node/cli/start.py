"""``sdv-node start``: the daemon."""

import asyncio
import signal
from functools import partial
from typing import TYPE_CHECKING

import click

from node.cli.context import layers_of, load_layers
from node.cli.unlocking import typed_key
from node.config import Config

if TYPE_CHECKING:
    from node.app.reloading import Reread
    from node.chain.signer import Key


@click.command()
@click.pass_context
def start(ctx: click.Context) -> None:
    """Run the node until it is told to stop (SIGTERM or Ctrl-C; a second one stops it at once).

    \b
    Examples:
      sdv-node start
      sdv-node --config /etc/sdv-node/config.toml start
    """
    from node.app.reloading import Reread
    from node.observe.logging import configure_logging

    config, layers = load_layers(ctx)
    configure_logging(config.log.format, config.log.level)
    reread = Reread(layers, partial(layers_of, ctx))
    asyncio.run(run_until_signal(config, reread, typed_key(config)))


async def run_until_signal(config: Config, reread: "Reread", key: "Key | None") -> None:
    """Run the node. SIGTERM and SIGINT stop it in order, a second one at once; SIGHUP reloads settings."""
    from node.app import run_node

    shutdown, at_once = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (at_once if shutdown.is_set() else shutdown).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reread.asked.set)
    await run_node(config, shutdown=shutdown, key=key, reread=reread, at_once=at_once)
