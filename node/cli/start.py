"""``sdv-node start``: the daemon."""

import asyncio
import signal
from typing import TYPE_CHECKING

import click

from node.cli.context import load_config
from node.cli.unlocking import typed_key
from node.config import Config

if TYPE_CHECKING:
    from node.chain.signer import Key


@click.command()
@click.pass_context
def start(ctx: click.Context) -> None:
    """Run the node until it is told to stop (SIGTERM or Ctrl-C).

    \b
    Examples:
      sdv-node start
      sdv-node --config /etc/sdv-node/config.toml start
    """
    from node.observe.logging import configure_logging

    config = load_config(ctx)
    configure_logging(config.log.format, config.log.level)
    asyncio.run(run_until_signal(config, typed_key(config)))


async def run_until_signal(config: Config, key: "Key | None" = None) -> None:
    """Run the node; SIGTERM and SIGINT stop it in order."""
    from node.app import run_node

    shutdown = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.set)
    await run_node(config, shutdown=shutdown, key=key)
