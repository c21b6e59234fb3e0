"""``sdv-node devnet``: a private market on this machine."""

import asyncio
import json
import signal
from pathlib import Path

import click

ACCOUNT_TOKENS = 10_000


@click.group()
def devnet() -> None:
    """Run a private market for development: Anvil with the contracts deployed.

    \b
    Example:
      sdv-node devnet up --write-config dev
    """


@devnet.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8545, show_default=True)
@click.option(
    "--block-time", type=click.IntRange(0, 60), default=1, show_default=True, help="Seconds; 0: on demand."
)
@click.option(
    "--write-config",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write provider.toml, requester.toml and mediator.toml for it there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line when it is up.")
def up(port: int, block_time: int, write_config: Path | None, as_json: bool) -> None:
    """Start a devnet and keep it running until Ctrl-C.

    It is a fresh chain each time. The provider and requester accounts own tokens and gas, and the market may
    take their collateral. Their keys are the published development keys: use them nowhere else.

    \b
    Example:
      sdv-node devnet up --write-config dev
      sdv-node --config dev/provider.toml start
      sdv-node --config dev/requester.toml run sdv-pipeline -i Prompt="a red fox"
    """
    asyncio.run(_up(port, block_time or None, write_config, as_json))


async def _up(port: int, block_time_s: int | None, write_config: Path | None, as_json: bool) -> None:
    from node.app.sandbox import ROLES, sandbox

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with sandbox(port=port, block_time_s=block_time_s) as box:
        if write_config is not None:
            box.write_configs(write_config)
        document = {
            "rpc_url": box.market.url,
            "chain_id": box.market.chain_id,
            "controller": box.market.addresses.controller,
            "token": box.market.addresses.token,
            "accounts": {role: box.address(role) for role in ROLES},
        }
        if as_json:
            click.echo(json.dumps(document))
        else:
            click.echo(f"devnet at {box.market.url}, chain {box.market.chain_id}")
            click.echo(f"  controller  {box.market.addresses.controller}")
            for role in ROLES:
                click.echo(f"  {role:<10}  {box.address(role)}")
            if write_config is not None:
                files = ", ".join(f"{write_config}/{role}.toml" for role in ROLES)
                click.echo(f"  settings    {files}")
            click.echo("Ctrl-C stops it.")
        await stop.wait()
